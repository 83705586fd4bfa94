package parley_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

func TestSocketStats(t *testing.T) {
	srv, url := serve(t, &parley.Options{PingInterval: 50 * time.Millisecond, PingTimeout: patience, MaxInbox: 2})
	release := make(chan struct{})
	handled := make(chan string, 8)
	srv.On("wait", func(p *parley.Packet) error {
		handled <- p.Name()
		<-release
		return nil
	})
	srv.OnConnection(func(s *parley.Socket) { s.Join("a", "b") })
	before := time.Now()
	c, id := join(t, url, "")
	s := srv.Socket(id)
	st := s.Stats()
	if st.Transport != parley.TransportWebSocket || st.Protocol != 4 || st.Rooms != 2 || st.Opened.Before(before.Add(-time.Second)) || st.Opened.After(time.Now()) || st.InboxEvents != 0 || st.InboxBytes != 0 || st.Paused {
		t.Errorf("idle: %+v", st)
	}

	// Answer a ping.
	if _, ping, err := c.conn.ReadMessage(t.Context()); err != nil || string(ping) != "2" {
		t.Fatalf("received %q, %v, want a ping", ping, err)
	}
	c.send("3")
	eventually(t, "pong", func() bool { return !s.Stats().LastPong.IsZero() })

	// Events wait for the handler of the first one.
	go s.EmitWithAck(t.Context(), "question")
	for range 3 {
		c.send(`42["wait"]`)
	}
	await(t, "handler", handled)
	eventually(t, "events in the inbox", func() bool { return s.Stats().InboxEvents == 2 })
	now := s.Stats()
	if now.InboxBytes < 2*len(`["wait"]`) || now.PacketsIn <= st.PacketsIn || now.BytesIn <= st.BytesIn {
		t.Errorf("%+v after %+v", now, st)
	}
	eventually(t, "question", func() bool { return s.Stats().PendingAcks == 1 })
	close(release)
	eventually(t, "empty inbox", func() bool {
		st := s.Stats()
		return st.InboxEvents == 0 && st.InboxBytes == 0 && !st.Paused
	})

	b, err := json.Marshal(s.Stats())
	if err != nil || !strings.HasPrefix(string(b), `{"transport":"websocket","protocol":4,"opened":"`) || !strings.Contains(string(b), `"rooms":2`) {
		t.Errorf("%s, %v", b, err)
	}
}

// What a polling client has not fetched is in the outbox.
func TestSocketStatsOfPolling(t *testing.T) {
	srv, url := serve(t, nil)
	sockets := make(chan *parley.Socket, 1)
	srv.OnConnection(func(s *parley.Socket) { sockets <- s })
	poll := func(method, query, body string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, method, url+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(poll("GET", "", "")[1:]), &open); err != nil {
		t.Fatal(err)
	}
	sid := "&sid=" + open.SID
	poll("POST", sid, "40")
	s := await(t, "connection", sockets)
	if got := poll("GET", sid, ""); !strings.HasPrefix(got, "40") {
		t.Fatal(got)
	}
	eventually(t, "empty outbox", func() bool { return s.Stats().OutboxBytes == 0 })
	if err := s.Emit("x", strings.Repeat("y", 1000)); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Transport != parley.TransportPolling || st.OutboxBytes < 1000 || !st.LastPong.IsZero() {
		t.Errorf("%+v", st)
	}
	poll("GET", sid, "")
	eventually(t, "the message to be fetched", func() bool {
		now := s.Stats()
		return now.OutboxBytes == 0 && now.BytesOut >= st.BytesOut+1000
	})
	http.DefaultClient.CloseIdleConnections()
}

// Events that wait until the client knows that it is connected, and those that it has missed, count
// as sent, as all others do.
func TestEventsOutCountsWhatJoiningDelays(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	gone := make(chan parley.Reason, 1)
	srv.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { gone <- r })
	srv.Use(func(_ context.Context, s *parley.Socket) error { return s.Emit("early") })
	srv.OnConnection(func(s *parley.Socket) { s.Emit("entered") })
	c := dial(t, url)
	a := c.connect("", "")
	c.recv()
	last := c.recv()
	eventually(t, "count of 2", func() bool { return srv.Stats().EventsOut == 2 })
	c.cut()
	await(t, "disconnect", gone)
	srv.Emit("missed")
	c = dial(t, url)
	missedUntilConnect(t, c, back(a.PID, offset(t, last)))
	c.recv() // "entered"
	eventually(t, "count of 4", func() bool { return srv.Stats().EventsOut == 4 })
}
