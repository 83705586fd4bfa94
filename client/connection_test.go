package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
)

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: ", what)
		}
	}
}

// While Auth fails, the client waits and asks again, once at a time, over however many connections. The
// state says so. Auth may close the client.
func TestAuthFails(t *testing.T) {
	h := serve(t, nil)
	var asked, running atomic.Int64
	var last atomic.Bool
	broken := errors.New("no token yet")
	var c *client.Client
	o := soon(client.Options{})
	o.Auth = func(context.Context) (any, error) {
		if running.Add(1) > 1 {
			t.Error("Auth runs twice at a time")
		}
		defer running.Add(-1)
		switch n := asked.Add(1); {
		case n < 50:
			return nil, broken
		case !last.Load():
			return map[string]string{}, nil
		}
		c.Close()
		return nil, broken
	}
	c, err := client.New(h.url, o)
	must(t, err)
	defer c.Close()
	if err := c.Connect(t.Context()); err != broken {
		t.Errorf("the first attempt: %v", err)
	}
	for n := int64(0); c.State().Status != client.Connected; {
		s := c.State()
		if s.Status == client.Idle || s.Status == client.Waiting && s.Next.IsZero() {
			t.Fatalf("state %+v", s)
		}
		if now := asked.Load(); now >= n+10 {
			n = now
			h.cut(false)
		}
		time.Sleep(time.Millisecond)
	}
	last.Store(true)
	h.cut(false)
	until(t, "Auth closes the client", func() bool { return c.State().Status == client.Idle })
}

// OnDrop and RetryRefused may close the client, too.
func TestCloseInside(t *testing.T) {
	h := serve(t, &parley.Options{MaxPayload: 1000})
	var c *client.Client
	dropped := make(chan bool)
	c, err := client.New(h.url, soon(client.Options{OnDrop: func(string, error) { c.Close(); close(dropped) }}))
	must(t, err)
	must(t, c.Connect(t.Context()))
	h.cut(true)
	until(t, "the connection is lost", func() bool { return c.State().Status != client.Connected })
	must(t, c.Emit("large", strings.Repeat("x", 2000)))
	h.cut(false)
	<-dropped
	c.Close()

	h.Use(func(context.Context, *parley.Socket) error { return errors.New("no") })
	d, err := client.New(h.url, nil)
	must(t, err)
	d.Close()
	closed := make(chan bool)
	var e *client.Client
	e, err = client.New(h.url, soon(client.Options{RetryRefused: func(*client.ConnectError) bool { e.Close(); close(closed); return true }}))
	must(t, err)
	if err := e.Connect(t.Context()); err == nil {
		t.Error("connected")
	}
	<-closed
	until(t, "it is idle", func() bool { return e.State().Status == client.Idle })
}

// A connection has one client in each namespace. A client that leaves a shared connection leaves its
// namespace.
func TestNamespaces(t *testing.T) {
	h := serve(t, nil)
	admin := h.Of("/admin")
	c := connect(t, h.url, nil)
	a, b := c.Of("/admin", nil), c.Of("admin", nil)
	must(t, a.Connect(t.Context()))
	if err := b.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "another client") {
		t.Errorf("the second client of a namespace: %v", err)
	}
	if err := b.Emit("x"); err == nil {
		t.Error("the second client emits")
	}
	a.Close()
	must(t, b.Connect(t.Context()))
	b.Close()
	until(t, "nobody is in the namespace", func() bool {
		n, err := admin.All().Count(t.Context())
		must(t, err)
		return n == 0
	})
	var connecting sync.WaitGroup
	for range 100 { // whoever is quicker
		connecting.Go(func() { a.Connect(t.Context()) })
		a.Close()
	}
	a.Close()
	connecting.Wait()
	a.Close()
	until(t, "nobody is in the namespace again", func() bool {
		n, err := admin.All().Count(t.Context())
		must(t, err)
		return n == 0
	})
	if s := c.State(); s.Status != client.Connected {
		t.Errorf("state %+v", s)
	}
}

// An acknowledgement goes over the connection on which the event came, or nowhere: on the next one, the same
// id belongs to another event.
func TestLateAck(t *testing.T) {
	h := serve(t, nil)
	c := connect(t, h.url, soon(client.Options{}))
	packets := make(chan *client.Packet, 10)
	c.On("ask", func(p *client.Packet) error { packets <- p; return nil })
	ask := func(reply chan<- string) {
		replies, err := h.Timeout(time.Minute).EmitWithAck(t.Context(), "ask")
		if err != nil || len(replies) != 1 {
			reply <- fmt.Sprint(err)
			return
		}
		reply <- string(replies[0].Args()[0])
	}
	first, second := make(chan string, 1), make(chan string, 1)
	go ask(first)
	old := <-packets
	back := make(chan bool, 1)
	c.OnConnect(func(client.Connection) { back <- true })
	h.cut(false)
	<-back
	go ask(second)
	p := <-packets
	if err := old.Ack("late"); err != client.ErrDisconnected {
		t.Errorf("the late acknowledgement: %v", err)
	}
	must(t, p.Ack("in time"))
	if got := <-second; got != `"in time"` {
		t.Errorf("the server got %s", got)
	}
	<-first
}

// An answer that is too large is refused here, and the server gets an error instead of waiting.
func TestLargeAnswer(t *testing.T) {
	h := serve(t, &parley.Options{MaxPayload: 1000})
	c := connect(t, h.url, nil)
	c.OnError(func(string, error) {})
	client.Handle(c, name, func(context.Context, event.None) (string, error) { return strings.Repeat("x", 2000), nil })
	replies, err := h.Timeout(time.Minute).EmitWithAck(t.Context(), string(name))
	must(t, err)
	var refused *event.Error
	if !errors.As(replies[0].Err(), &refused) || refused.Code != event.CodeInternal {
		t.Errorf("the server got %v", replies[0].Err())
	}
}

// A handler that waits for an answer gets it, however much waits in all namespaces of the connection.
func TestAwaitsBehindOthers(t *testing.T) {
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := serve(t, &parley.Options{MaxOutbox: 64 << 20})
			other := h.Of("/other")
			parley.Handle(h, add, func(ctx context.Context, s *parley.Socket, q []int) (int, error) {
				for range 100 { // more than the client takes without reason, before the answer
					if err := errors.Join(h.Emit("fill", strings.Repeat("x", 20_000)), other.Emit("fill", strings.Repeat("x", 20_000))); err != nil {
						return 0, err
					}
				}
				return 7, nil
			})
			c := connect(t, h.url, &o)
			d := c.Of("/other", nil)
			defer d.Close()
			done := make(chan error, 1)
			var filled atomic.Int64
			fill := func(*client.Packet) error { filled.Add(1); return nil }
			c.On("fill", fill)
			d.On("fill", fill)
			c.On("begin", func(p *client.Packet) error {
				_, err := add.Call(p.Context(), c, nil)
				done <- err
				return nil
			})
			must(t, d.Connect(t.Context()))
			must(t, h.Emit("begin"))
			must(t, <-done)
			until(t, "all events", func() bool { return filled.Load() == 200 })
		})
	}
}

// However much comes while handlers run, what waits for them is counted exactly.
func TestFlood(t *testing.T) {
	h := serve(t, &parley.Options{MaxOutbox: 64 << 20})
	c := connect(t, h.url, nil)
	var got atomic.Int64
	c.On("x", func(*client.Packet) error { got.Add(1); return nil })
	const n, size = 20_000, 1000 // many times what may wait
	for i := range n {
		must(t, h.Emit("x", strings.Repeat("x", size)))
		if i%1000 == 0 {
			until(t, "events", func() bool { return got.Load() > int64(i-5000) })
		}
	}
	until(t, "all events", func() bool { return got.Load() == n })
}

// A client that is closed at any moment leaves nothing behind (see TestMain).
func TestCloseAnytime(t *testing.T) {
	h := serve(t, nil)
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for i := range 60 {
				c, err := client.New(h.url, soon(o))
				must(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan bool)
				go func() {
					defer close(ended)
					if c.Connect(ctx) == nil {
						c.Emit("x")
					}
				}()
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				switch i % 3 {
				case 0:
					h.cut(false)
				case 1:
					d := c.Of("/admin", nil)
					go d.Connect(ctx)
					defer d.Close()
				}
				c.Close()
				cancel()
				<-ended
				c.Close()
			}
		})
	}
}
