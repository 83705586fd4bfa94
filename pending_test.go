package parley_test

import (
	"context"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

// Clients that join no namespace are disconnected. The others are not, however long the server takes
// to let them in.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	srv, url := serve(t, &parley.Options{ConnectTimeout: 2 * time.Second})
	release := make(chan struct{})
	srv.Of("/slow").Use(func(context.Context, *parley.Socket) error { <-release; return nil })
	srv.Of("/never").Use(func(context.Context, *parley.Socket) error { return &parley.ConnectError{Message: "no"} })
	left, _ := join(t, url, "")
	left.send("41")
	slow := dial(t, url)
	slow.send("40/slow,")
	fickle := dial(t, url)
	fickle.send("40/slow,")
	fickle.send("41/slow,") // no longer wants to join
	refused := dial(t, url)
	refused.send("40/never,")
	refused.expect(`44/never,{"message":"no"}`)
	silent := dial(t, url)
	for _, c := range []*client{fickle, refused, silent} {
		c.expectClosed()
	}
	close(release)
	if packet := slow.recv(); packet[:9] != `40/slow,{` {
		t.Errorf("answer %q", packet)
	}
	left.connect("", "")
	st := srv.Stats()
	if st.Pending != 0 || st.JoinTimeouts != 3 {
		t.Errorf("%d pending, %d timeouts, want 0 and 3", st.Pending, st.JoinTimeouts)
	}
}

// Clients that come all at once and join are all let in, from one address too, although more wait
// than may.
func TestPendingConnectionsMakeRoom(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxPendingConnections: 3})
	srv.Of("/other")
	var joined []*client
	for range 5 {
		c, _ := join(t, url, "")
		joined = append(joined, c)
	}
	var pending []*client
	for range 5 {
		pending = append(pending, dial(t, url))
	}
	for _, c := range pending[:2] {
		c.expectClosed()
	}
	if st := srv.Stats(); st.Pending != 3 || st.MadeRoom != 2 {
		t.Errorf("%d pending, %d made room, want 3 and 2", st.Pending, st.MadeRoom)
	}
	for _, c := range pending[2:] {
		c.connect("", "")
	}
	for _, c := range joined {
		c.connect("/other", "")
	}
}
