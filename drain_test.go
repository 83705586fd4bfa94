package parley_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/ws"
)

// While a server drains, its clients leave one after the other. Those that are still there are served, and
// new ones are refused.
func TestServerDrain(t *testing.T) {
	inBubble(t, parley.Options{}, func(t *testing.T, srv *parley.Server, dial func() *client) {
		var left atomic.Int64 // handlers of different sockets may run at the same time
		srv.OnDisconnect(func(_ *parley.Socket, reason parley.Reason) {
			if left.Add(1); reason != parley.ServerShutdown {
				t.Errorf("reason %q", reason)
			}
		})
		srv.On("hello", func(p *parley.Packet) error { return p.Ack("hi") })
		var clients []*client
		for range 10 {
			c := dial()
			c.send("40")
			c.recv()
			clients = append(clients, c)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- srv.Drain(ctx, 10*time.Second) }()
		time.Sleep(time.Second / 2)
		for i := range 7 {
			if synctest.Wait(); left.Load() != int64(i+1) {
				t.Fatalf("after %d.5 s, %d clients have left", i, left.Load())
			}
			if i < 6 {
				time.Sleep(time.Second)
			}
		}
		stop()
		if err := <-ended; err != context.Canceled {
			t.Errorf("Drain returned %v", err)
		}
		served := 0
		for _, c := range clients {
			c.conn.WriteMessage(t.Context(), ws.OpText, []byte(`420["hello"]`))
			if _, answer, _ := c.read(); string(answer) == `430["hi"]` {
				served++
			}
		}
		if served != 3 {
			t.Errorf("%d of 3 clients are served", served)
		}
		if err := srv.Drain(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if left.Load() != 10 {
			t.Errorf("%d of 10 clients have left", left.Load())
		}
	})
}

// The others learn that a server drains, and clients that come are told to go elsewhere.
func TestServerDrainIsAnnounced(t *testing.T) {
	p := cluster(t, 2, nil)
	ok(t, p.servers[1].Drain(p.ctx(), 0))
	eventually(t, "the news", func() bool { n := p.servers[0].Nodes(); return len(n) == 2 && n[1].Draining })
	resp, err := http.Get(p.urls[1] + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new client gets %s", resp.Status)
	}
}
