package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type stroke struct {
	X   int
	Ink event.Binary
}

const (
	draw = event.Event2[string, stroke]("draw")
	add  = event.RPC[[]int, int]("add")
	name = event.RPC[event.None, string]("name")
	tick = event.Event[int]("tick")
)

// host is a server whose connections can be cut.
type host struct {
	*parley.Server
	url string

	mu    sync.Mutex
	conns map[net.Conn]bool
	lost  bool // new connections are refused
}

func (h *host) cut(refuse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = refuse
	for c := range h.conns {
		c.Close()
	}
	clear(h.conns)
}

// hidden hides what a connection is, so that nobody takes its descriptor away.
type hidden struct{ net.Conn }

// tapped is a listener whose connections the host knows.
type tapped struct {
	net.Listener
	h *host
}

func (l tapped) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c = hidden{c}
		l.h.mu.Lock()
		refuse := l.h.lost
		if !refuse {
			l.h.conns[c] = true
		}
		l.h.mu.Unlock()
		if !refuse {
			return c, nil
		}
		c.Close()
	}
}

func serve(t *testing.T, o *parley.Options) *host {
	t.Helper()
	if o == nil {
		o = &parley.Options{}
	}
	o.AllowEIO3, o.Logger = true, slog.New(slog.DiscardHandler)
	srv, err := parley.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Server: srv, conns: map[net.Conn]bool{}}
	web := httptest.NewUnstartedServer(srv)
	web.Listener = tapped{web.Listener, h}
	web.Start()
	h.url = web.URL
	t.Cleanup(func() {
		h.cut(true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon are options for tests that reconnect.
func soon(o client.Options) *client.Options {
	o.Reconnection = client.Reconnection{Delay: time.Millisecond, MaxDelay: 10 * time.Millisecond}
	return &o
}

func connect(t *testing.T, url string, o *client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), url, o)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

var kinds = map[string]client.Options{
	"websocket":       {Transports: []string{"websocket"}},
	"polling":         {Transports: []string{"polling"}},
	"sse":             {Transports: []string{"sse"}},
	"upgrade":         {Transports: []string{"polling", "websocket"}},
	"websocket, EIO3": {Transports: []string{"websocket"}, Protocol: 3},
	"polling, EIO3":   {Transports: []string{"polling"}, Protocol: 3},
	"upgrade, EIO3":   {Transports: []string{"polling", "websocket"}, Protocol: 3},
	"compressed":      {Compression: true},
}

// Events and answers go both ways, typed and raw, with binary data, in several namespaces of one connection.
func TestBothWays(t *testing.T) {
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := serve(t, nil)
			sums := func(n *parley.Namespace) {
				parley.Handle(n, add, func(ctx context.Context, s *parley.Socket, q []int) (sum int, err error) {
					for _, v := range q {
						sum += v
					}
					if sum < 0 {
						return 0, &parley.Error{Code: "negative", Message: "no"}
					}
					return sum, nil
				})
				parley.On2(n, draw, func(ctx context.Context, s *parley.Socket, board string, v stroke) error {
					who, err := name.Call(ctx, s, event.None{})
					if err != nil {
						return err
					}
					return draw.Emit(s, board+" of "+who, v)
				})
			}
			sums(h.Of("/"))
			sums(h.Of("/admin"))
			c := connect(t, h.url, &o)
			admin := c.Of("/admin", nil)
			t.Cleanup(admin.Close)
			must(t, admin.Connect(t.Context()))
			for _, c := range []*client.Client{c, admin} {
				if sum, err := add.Call(t.Context(), c, []int{1, 2}); sum != 3 || err != nil {
					t.Errorf("the sum is %d, %v", sum, err)
				}
				_, err := add.Call(t.Context(), c, []int{-1})
				var refused *event.Error
				if !errors.As(err, &refused) || refused.Code != "negative" {
					t.Errorf("refused with %v", err)
				}
				drawn := make(chan string, 1)
				client.Handle(c, name, func(context.Context, event.None) (string, error) { return "ann" + c.Namespace(), nil })
				client.On2(c, draw, func(_ context.Context, board string, v stroke) error {
					drawn <- fmt.Sprint(board, v)
					return nil
				})
				must(t, draw.Emit(c, "board", stroke{7, event.Binary{1, 2, 3}}))
				if got, want := <-drawn, fmt.Sprint("board of ann", c.Namespace(), stroke{7, event.Binary{1, 2, 3}}); got != want {
					t.Errorf("drawn %s, want %s", got, want)
				}
				if s := c.State(); s.Status != client.Connected || s.ID == "" || s.ID != c.ID() || h.Of(c.Namespace()).Socket(s.ID) == nil {
					t.Errorf("state %+v", s)
				}
			}
			if n := h.Stats().Sessions; n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// What is sent while the connection is lost arrives once it is back, in order. Answers that were under way
// are lost, and the caller learns that.
func TestReconnect(t *testing.T) {
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := serve(t, nil)
			var got []int
			done := make(chan struct{})
			parley.On(h, tick, func(ctx context.Context, s *parley.Socket, v int) error {
				if got = append(got, v); v == 99 {
					close(done)
				}
				return nil
			})
			h.On("never", func(*parley.Packet) error { return nil })
			parley.Handle(h, add, func(ctx context.Context, s *parley.Socket, q []int) (int, error) { return len(q), nil })
			c := connect(t, h.url, soon(o))
			lost, back := make(chan error, 10), make(chan client.Connection, 10)
			c.OnDisconnect(func(why error) { lost <- why })
			c.OnConnect(func(n client.Connection) { back <- n })
			answer := make(chan error, 1)
			go func() {
				_, err := c.EmitWithAck(t.Context(), "never")
				answer <- err
			}()
			for h.Stats().EventsIn < 1 {
				time.Sleep(time.Millisecond)
			}
			h.cut(true)
			var reason *client.LostError
			if err := <-lost; !errors.As(err, &reason) {
				t.Errorf("lost because of %v", err)
			}
			if err := <-answer; err != client.ErrDisconnected {
				t.Errorf("the answer is lost: %v", err)
			}
			if err := c.Volatile().Emit("tick", 0); err != client.ErrNotConnected {
				t.Errorf("volatile: %v", err)
			}
			for i := range 100 {
				must(t, tick.Emit(c, i))
			}
			for s := c.State(); s.Attempts < 2; s = c.State() {
				if s.Status == client.Connected || s.Err == nil {
					t.Fatalf("state %+v", s)
				}
				time.Sleep(time.Millisecond)
			}
			h.cut(false)
			<-done
			if n := <-back; n.Recovered || n.Client != c {
				t.Errorf("connected again: %+v", n)
			}
			for i, v := range got {
				if i != v {
					t.Fatalf("got %v", got)
				}
			}
			if n, err := add.Call(t.Context(), c, []int{1}); n != 1 || err != nil {
				t.Errorf("afterwards: %d, %v", n, err)
			}
		})
	}
}

// The client asks for each attempt who it is. It gets what it missed, if the server has kept it.
func TestRecovery(t *testing.T) {
	h := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	var asked atomic.Int64
	c, err := client.New(h.url, soon(client.Options{Auth: func(context.Context) (any, error) {
		return map[string]int64{"attempt": asked.Add(1)}, nil
	}}))
	must(t, err)
	defer c.Close()
	var got []int
	more := make(chan int, 100)
	client.On(c, tick, func(_ context.Context, v int) error {
		got = append(got, v)
		more <- v
		return nil
	})
	back := make(chan bool, 10)
	c.OnConnect(func(n client.Connection) { back <- n.Recovered })
	must(t, c.Connect(t.Context()))
	if <-back {
		t.Error("recovered at first")
	}
	must(t, h.Emit("tick", 0))
	<-more
	id := c.ID()
	for round := range 3 {
		h.cut(true)
		for c.State().Status == client.Connected {
			time.Sleep(time.Millisecond)
		}
		must(t, h.Emit("tick", 2*round+1))
		must(t, h.Emit("tick", 2*round+2))
		h.cut(false)
		if !<-back || c.ID() != id {
			t.Fatal("not recovered")
		}
		<-more
		<-more
	}
	for i, v := range got {
		if i != v {
			t.Fatalf("got %v", got)
		}
	}
	if n := asked.Load(); n < 4 {
		t.Errorf("asked %d times who it is", n)
	}
}

// A refused client says why, and does not come back by itself. RetryRefused changes that.
func TestRefused(t *testing.T) {
	h := serve(t, nil)
	var open atomic.Bool
	h.Use(func(ctx context.Context, s *parley.Socket) error {
		if open.Load() {
			return nil
		}
		return &parley.Error{Code: "not_yet", Message: "later"}
	})
	_, err := client.Dial(t.Context(), h.url, nil)
	var refused *client.ConnectError
	if !errors.As(err, &refused) || refused.Message != "later" || !strings.Contains(string(refused.Data), "not_yet") {
		t.Errorf("refused with %v", err)
	}
	c, err := client.New(h.url, soon(client.Options{RetryRefused: func(e *client.ConnectError) bool { return e.Message == "later" }}))
	must(t, err)
	defer c.Close()
	back, failures := make(chan bool), 0
	c.OnConnectError(func(err error) {
		if failures++; failures == 3 {
			open.Store(true)
		}
	})
	c.OnConnect(func(client.Connection) { close(back) })
	if err := c.Connect(t.Context()); !errors.As(err, &refused) {
		t.Errorf("the first attempt: %v", err)
	}
	<-back

	if _, err := client.Dial(t.Context(), h.url+"/nowhere", nil); !errors.As(err, &refused) || refused.Message != "Invalid namespace" {
		t.Errorf("an unknown namespace: %v", err)
	}
	if _, err := client.Dial(t.Context(), h.url, &client.Options{Path: "/elsewhere"}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("an unknown path: %v", err)
	}
	for _, url := range []string{"ftp://host", "http://", ":", "example.com"} {
		if _, err := client.New(url, nil); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
}

// A client that the server disconnects waits for Connect. Close is final until Connect, too, and fails what
// waits.
func TestDisconnected(t *testing.T) {
	h := serve(t, nil)
	h.OnConnection(func(s *parley.Socket) {})
	h.On("bye", func(p *parley.Packet) error {
		p.Socket().Disconnect(false)
		return nil
	})
	h.On("never", func(*parley.Packet) error { return nil })
	c := connect(t, h.url, soon(client.Options{}))
	lost := make(chan error, 10)
	c.OnDisconnect(func(why error) { lost <- why })
	must(t, c.Emit("bye"))
	if err := <-lost; err != client.ErrServerDisconnect {
		t.Errorf("the server has disconnected it: %v", err)
	}
	if s := c.State(); s.Status != client.Idle || s.Err != client.ErrServerDisconnect {
		t.Errorf("state %+v", s)
	}
	if err := c.Emit("x"); err != client.ErrClosed {
		t.Errorf("Emit: %v", err)
	}
	must(t, c.Connect(t.Context()))
	answer := make(chan error, 1)
	go func() {
		_, err := c.EmitWithAck(t.Context(), "never")
		answer <- err
	}()
	for h.Stats().EventsIn < 2 {
		time.Sleep(time.Millisecond)
	}
	c.Close()
	if err := <-answer; err != client.ErrClosed {
		t.Errorf("an answer after Close: %v", err)
	}
	if err := <-lost; err != client.ErrClosed {
		t.Errorf("closed: %v", err)
	}
	c.Close()
	must(t, c.Connect(t.Context()))
	c.Close()
}

// What waits is bounded, and what is dropped is told.
func TestBounds(t *testing.T) {
	h := serve(t, &parley.Options{MaxPayload: 10_000})
	dropped := make(chan string, 10)
	c := connect(t, h.url, soon(client.Options{MaxBuffer: 30_000, OnDrop: func(event string, err error) { dropped <- fmt.Sprint(event, " ", err) }}))
	if err := c.Emit("large", strings.Repeat("x", 10_000)); err != client.ErrTooLarge {
		t.Errorf("too large: %v", err)
	}
	h.cut(true)
	for c.State().Status == client.Connected {
		time.Sleep(time.Millisecond)
	}
	must(t, c.Emit("large", strings.Repeat("x", 20_000)))
	must(t, c.Emit("small", strings.Repeat("x", 5_000)))
	if err := c.Emit("small", strings.Repeat("x", 5_000)); err != client.ErrBufferFull {
		t.Errorf("too much: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.EmitWithAck(ctx, "gone"); err != context.Canceled {
		t.Errorf("ctx has ended: %v", err)
	}
	arrived := make(chan string, 10)
	h.OnAny(func(p *parley.Packet) error {
		arrived <- p.Name()
		return nil
	})
	h.cut(false)
	if got := <-dropped; got != "large "+client.ErrTooLarge.Error() {
		t.Errorf("dropped %s", got)
	}
	if got := <-arrived; got != "small" {
		t.Errorf("arrived %s", got)
	}
	h.cut(true)
	for c.State().Status == client.Connected {
		time.Sleep(time.Millisecond)
	}
	must(t, c.Emit("late"))
	c.Close()
	if got := <-dropped; got != "late "+client.ErrClosed.Error() {
		t.Errorf("dropped %s", got)
	}
}

// A server that sends more than the client accepts is disconnected.
func TestMaxMessage(t *testing.T) {
	h := serve(t, nil)
	for name, args := range map[string][]any{
		"text":   {strings.Repeat("x", 2000)},
		"binary": {make([]byte, 600), make([]byte, 600)},
	} {
		c := connect(t, h.url, &client.Options{MaxMessage: 1000, Reconnection: client.Reconnection{Off: true}})
		lost := make(chan error, 1)
		c.OnDisconnect(func(why error) { lost <- why })
		c.On("large", func(*client.Packet) error {
			t.Error(name, "arrived")
			return nil
		})
		must(t, h.To(c.ID()).Emit("large", args...))
		var why *client.LostError
		if err := <-lost; !errors.As(err, &why) || why.Reason != "transport error" || why.Err == nil {
			t.Errorf("%s: lost because of %v", name, err)
		}
	}
}

// A server that sends events and never answers CONNECT does not fill the memory.
func TestEarlyEvents(t *testing.T) {
	polls := 0
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			fmt.Fprint(w, "ok")
		case polls == 0:
			polls++
			fmt.Fprint(w, `0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}`)
		default:
			if polls++; polls > 1000 {
				t.Error("the client has taken 100 MB")
				return
			}
			fmt.Fprintf(w, `42["x",%q]`, strings.Repeat("x", 100_000))
		}
	}))
	defer endless.Close()
	_, err := client.Dial(t.Context(), endless.URL, &client.Options{Transports: []string{"polling"}, Reconnection: client.Reconnection{Off: true}})
	if err == nil || !strings.Contains(err.Error(), "does not answer CONNECT") {
		t.Errorf("Dial: %v", err)
	}
}

// A slow handler slows the server down, and nothing is lost. It may ask the server something meanwhile.
func TestSlowHandler(t *testing.T) {
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := serve(t, &parley.Options{MaxOutbox: 64 << 20})
			parley.Handle(h, add, func(ctx context.Context, s *parley.Socket, q []int) (int, error) { return len(q), nil })
			c, err := client.New(h.url, &o)
			must(t, err)
			defer c.Close()
			const n = 200
			enter := make(chan struct{})
			done := make(chan struct{})
			next := 0
			c.On("fill", func(p *client.Packet) error {
				<-enter
				var i int
				if err := p.DecodeArg(0, &i); err != nil || i != next {
					return fmt.Errorf("got %d instead of %d, %v", i, next, err)
				}
				if next++; next%50 == 0 {
					if _, err := add.Call(p.Context(), c, nil); err != nil {
						return err
					}
				}
				if next == n {
					close(done)
				}
				return nil
			})
			c.OnError(func(_ string, err error) { t.Error(err) })
			must(t, c.Connect(t.Context()))
			for i := range n {
				must(t, h.Emit("fill", i, strings.Repeat("x", 20_000)))
			}
			close(enter)
			<-done
		})
	}
}

// A panic in a handler is reported and hurts nobody else. Handlers can be removed.
func TestHandlers(t *testing.T) {
	h := serve(t, nil)
	c := connect(t, h.url, nil)
	reported := make(chan error, 10)
	c.OnError(func(_ string, err error) { reported <- err })
	r := c.On("x", func(*client.Packet) error { panic("oh") })
	got := make(chan string, 10)
	c.Once("x", func(p *client.Packet) error { got <- "once"; return nil })
	c.OnAny(func(p *client.Packet) error { got <- "any " + p.Name(); return nil })
	expect := func(all ...string) {
		t.Helper()
		for _, want := range all {
			if g := <-got; g != want {
				t.Errorf("%s, want %s", g, want)
			}
		}
	}
	must(t, h.Emit("x"))
	expect("any x", "once")
	r.Remove()
	must(t, h.Emit("x"))
	must(t, h.Emit("y"))
	expect("any x", "any y")
	var panicked *client.PanicError
	if err := <-reported; !errors.As(err, &panicked) || panicked.Value != "oh" || len(reported) > 0 {
		t.Errorf("reported %v", err)
	}
	// The server learns of errors.
	c.On("ask", func(*client.Packet) error { return &event.Error{Code: "tired", Message: "no"} })
	client.On(c, event.Event[int]("number"), func(context.Context, int) error { return nil })
	replies, err := h.Timeout(time.Minute).EmitWithAck(t.Context(), "ask")
	must(t, err)
	var refused *event.Error
	if !errors.As(replies[0].Err(), &refused) || refused.Code != "tired" {
		t.Errorf("the handler's error: %v", replies[0].Err())
	}
	replies, err = h.Timeout(time.Minute).EmitWithAck(t.Context(), "number", "one")
	must(t, err)
	if !errors.As(replies[0].Err(), &refused) || refused.Code != event.CodeBadPayload {
		t.Errorf("a wrong argument: %v", replies[0].Err())
	}
}

// A retried call is answered in the end, however often the connection is lost.
func TestRetry(t *testing.T) {
	h := serve(t, nil)
	var asked atomic.Int64
	h.On("work", func(p *parley.Packet) error {
		if asked.Add(1) < 4 {
			go h.cut(false)
			return nil
		}
		return p.Ack("done")
	})
	c := connect(t, h.url, soon(client.Options{}))
	reply, err := c.Retry().EmitWithAck(t.Context(), "work", "id-1")
	must(t, err)
	if args := reply.Args(); len(args) != 1 || string(args[0]) != `"done"` {
		t.Errorf("answered %s", args)
	}
}

// The client gives up when it shall, and says so.
func TestGivesUp(t *testing.T) {
	var attempts atomic.Int64
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attempts.Add(1)
		http.Error(w, `{"code":9,"message":"down"}`, http.StatusServiceUnavailable)
	}))
	defer down.Close()
	o := soon(client.Options{Transports: []string{"polling"}})
	o.Reconnection.Attempts = 3
	c, err := client.New(down.URL, o)
	must(t, err)
	defer c.Close()
	failed := make(chan error, 10)
	c.OnConnectError(func(err error) { failed <- err })
	err = c.Connect(t.Context())
	var refused *client.RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || refused.Message != "down" {
		t.Errorf("the first attempt: %v", err)
	}
	for range 4 {
		<-failed
	}
	for c.State().Status != client.Idle {
		time.Sleep(time.Millisecond)
	}
	if n := attempts.Load(); n != 4 || c.State().Err == nil {
		t.Errorf("%d attempts, %+v", n, c.State())
	}
}

// Msgpack works as well.
func TestMsgpack(t *testing.T) {
	h := serve(t, &parley.Options{Parser: parley.ParserMsgpack})
	h.On("echo", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Ack(v...)
	})
	c := connect(t, h.url, &client.Options{Msgpack: true})
	reply, err := c.EmitWithAck(t.Context(), "echo", "text", []byte{1, 2})
	must(t, err)
	values, err := reply.Values()
	must(t, err)
	if b, _ := json.Marshal(values); string(b) != `["text","AQI="]` {
		t.Errorf("answered %s", b)
	}
}
