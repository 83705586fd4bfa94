package parleytest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/parleytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type stroke struct {
	X   int
	Ink event.Binary
}

const (
	add  = event.RPC[[]int, int]("add")
	name = event.RPC[event.None, string]("name")
	draw = event.Event2[string, stroke]("draw")
	said = event.Event[string]("said")
	quit = event.Event[event.None]("quit")
)

// newServer returns a server that the tests of this package share, in its options.
func newServer(t testing.TB, o parley.Options) *parley.Server {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	srv, err := parley.New(&o)
	if err != nil {
		t.Fatal(err)
	}
	parley.Handle(srv, add, func(_ context.Context, _ *parley.Socket, numbers []int) (sum int, err error) {
		if len(numbers) == 0 {
			return 0, &parley.Error{Code: "empty", Message: "there are no numbers"}
		}
		for _, n := range numbers {
			sum += n
		}
		return sum, nil
	})
	parley.On2(srv, draw, func(_ context.Context, s *parley.Socket, board string, v stroke) error {
		return draw.Emit(srv, board, v)
	})
	srv.On("say", func(p *parley.Packet) error {
		var text string
		if err := p.Decode(&text); err != nil {
			return err
		}
		if err := said.Emit(p.Socket().Broadcast(), text); err != nil {
			return err
		}
		return p.Ack()
	})
	parley.On(srv, quit, func(_ context.Context, s *parley.Socket, _ event.None) error {
		s.Disconnect(false)
		return nil
	})
	return srv
}

// both runs a test in a bubble and outside of one.
func both(t *testing.T, test func(t *testing.T)) {
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("outside", test)
}

func TestEveryTransport(t *testing.T) {
	for _, transports := range [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}, {"sse"}} {
		t.Run(strings.Join(transports, "-"), func(t *testing.T) {
			both(t, func(t *testing.T) {
				s := parleytest.NewServer(t, newServer(t, parley.Options{Transports: []string{"polling", "websocket", "sse"}}))
				ann, bob := s.MustDial(parleytest.Transports(transports...)), s.MustDial(parleytest.Transports(transports...))
				if sum := parleytest.MustCall(ann, add, []int{1, 2}); sum != 3 {
					t.Errorf("sum %d", sum)
				}
				var refusal *event.Error
				if _, err := parleytest.Call(ann, add, nil); !errors.As(err, &refusal) || refusal.Code != "empty" {
					t.Errorf("%v", err)
				}
				large := bytes.Repeat([]byte("ink"), 200_000) // more than a connection holds
				parleytest.Send2(ann, draw, "board", stroke{7, large})
				for _, c := range []*parleytest.Client{ann, bob} {
					if board, v := parleytest.Next2(c, draw); board != "board" || v.X != 7 || !bytes.Equal(v.Ink, large) {
						t.Errorf("%q, %d, %d bytes", board, v.X, len(v.Ink))
					}
				}
				for _, text := range []string{"one", "two", "three"} {
					if _, err := ann.Call("say", text); err != nil {
						t.Fatal(err)
					}
				}
				ann.None()
				bob.None("draw")
				if text := parleytest.Next(bob, said); text != "one" {
					t.Errorf("%q", text)
				}
				if text := parleytest.Until(bob, said, func(text string) bool { return text == "three" }); text != "three" {
					t.Errorf("%q", text)
				}
				for _, text := range []string{"two", "three"} {
					if _, err := ann.Call("say", text); err != nil {
						t.Fatal(err)
					}
				}
				var text string
				if p := bob.Next("said", &text); text != "two" || len(p.Args()) != 1 {
					t.Errorf("%q", text)
				}
				if rest := bob.Rest(); len(rest) != 1 || rest[0].Name() != "said" {
					t.Errorf("%d events are left", len(rest))
				}
				bob.None()
				if got := ann.State().Transport; got != transports[len(transports)-1] {
					t.Errorf("the transport is %q", got)
				}
			})
		})
	}
}

// Minutes of heartbeats pass in a bubble, and the clients stay.
func TestTimeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := parleytest.NewServer(t, newServer(t, parley.Options{}))
		clients := []*parleytest.Client{s.MustDial(), s.MustDial(parleytest.Polling()), s.MustDial(parleytest.Transports("sse"))}
		began := time.Now()
		time.Sleep(10 * time.Minute)
		for _, c := range clients {
			if sum := parleytest.MustCall(c, add, []int{4, 5}); sum != 9 {
				t.Errorf("sum %d", sum)
			}
			c.None()
		}
		if passed := time.Since(began); passed != 10*time.Minute {
			t.Errorf("%v have passed", passed)
		}
	})
}

// None and Rest see whatever the server has sent, also while the client connected.
func TestNothingIsUnderWay(t *testing.T) {
	both(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{})
		s := parleytest.NewServer(t, srv)
		for _, transport := range []string{"websocket", "polling"} {
			c := s.MustDial(parleytest.Transports(transport))
			for i := range 100 {
				said.Emit(srv, "x")
				if got := len(c.Rest()); got != 1 {
					t.Fatalf("%s, round %d: %d events", transport, i, got)
				}
			}
			c.None()
		}
	})
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{})
		srv.OnConnection(func(s *parley.Socket) { said.Emit(s, "welcome") })
		if got := len(parleytest.NewServer(t, srv).MustDial().Rest()); got != 1 {
			t.Errorf("%d events", got)
		}
	})
}

// A server in a mux, behind middleware, in the way of a site with cookies.
func TestMuxWithCookies(t *testing.T) {
	both(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{AllowRequest: func(r *http.Request) error {
			if c, err := r.Cookie("session"); err != nil || c.Value != "ann" {
				return errors.New("no session")
			}
			return nil
		}})
		t.Cleanup(func() { srv.Close() })
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", srv)
		mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "ann", Path: "/"})
		})
		var requests atomic.Int64
		s := parleytest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			mux.ServeHTTP(w, r)
		}))
		var refused *client.RefusedError
		if _, err := s.Dial(); !errors.As(err, &refused) || refused.Message != "Forbidden" {
			t.Fatalf("without a cookie: %v", err)
		}
		jar, _ := cookiejar.New(nil)
		s.HTTP().Jar = jar
		response, err := s.HTTP().Post(s.URL+"/login", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		c := s.MustDial(parleytest.With(func(o *client.Options) { o.Jar = jar }))
		parleytest.MustCall(c, add, []int{1})
		parleytest.MustCall(s.MustDial(parleytest.Header("Cookie", "session=ann"), parleytest.Polling()), add, []int{1})
		if requests.Load() < 4 {
			t.Errorf("%d requests", requests.Load())
		}
	})
}

func TestOptions(t *testing.T) {
	both(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{KeepHeaders: []string{"X-Test"}})
		seen := make(chan string, 10)
		admin := srv.Of("/admin")
		admin.Use(func(_ context.Context, s *parley.Socket) error {
			var auth struct{ Token string }
			if err := s.DecodeAuth(&auth); err != nil || auth.Token != "t" {
				return &parley.Error{Code: "bad_token", Message: "log in first"}
			}
			h := s.Handshake()
			seen <- fmt.Sprint(h.Address, " ", h.Query.Get("room"), " ", h.Headers.Get("X-Test"))
			return nil
		})
		admin.On("who", func(p *parley.Packet) error { return p.Ack(p.Socket().Namespace().Name()) })
		s := parleytest.NewServer(t, srv)
		var refused *client.ConnectError
		var refusal *event.Error
		if _, err := s.Dial(parleytest.Namespace("/admin")); !errors.As(err, &refused) || refused.Message != "log in first" || !errors.As(err, &refusal) || refusal.Code != "bad_token" {
			t.Errorf("%v", err)
		}
		token := parleytest.Auth(map[string]string{"token": "t"})
		c := s.MustDial(parleytest.Namespace("admin"), token, parleytest.From("203.0.113.7"), parleytest.Query("room", "r"), parleytest.Header("X-Test", "h"))
		if got := <-seen; !strings.HasPrefix(got, "203.0.113.7:") || !strings.HasSuffix(got, " r h") {
			t.Errorf("the server has seen %q", got)
		}
		both := s.MustDial()
		for _, c := range []*parleytest.Client{c, both.Of("/admin", token)} {
			var where string
			if reply, err := c.Call("who"); err != nil || reply.Decode(&where) != nil || where != "/admin" {
				t.Errorf("%v, %q", err, where)
			}
			c.None()
		}
		parleytest.MustCall(both, add, []int{1})
	})
}

// A client loses its connection, comes back, and has missed nothing.
func TestDropAndReconnect(t *testing.T) {
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			both(t, func(t *testing.T) {
				srv := newServer(t, parley.Options{Recovery: &parley.Recovery{MaxDisconnection: time.Minute}})
				gone := make(chan parley.Reason, 10)
				srv.OnDisconnect(func(_ *parley.Socket, why parley.Reason) { gone <- why })
				s := parleytest.NewServer(t, srv)
				c := s.MustDial(parleytest.Transports(transport))
				said.Emit(srv, "one")
				if text := parleytest.Next(c, said); text != "one" {
					t.Errorf("%q", text)
				}
				id := c.ID()
				c.Drop()
				if transport == "websocket" { // with polling, the server does not know yet
					if why := <-gone; why != parley.TransportClose {
						t.Errorf("the server says %q", why)
					}
				}
				if c.State().Status != client.Idle || c.ID() != "" {
					t.Errorf("%+v", c.State())
				}
				c.None()
				said.Emit(srv, "two")
				if !c.Reconnect() || c.ID() != id {
					t.Error("not recovered")
				}
				if text := parleytest.Next(c, said); text != "two" {
					t.Errorf("%q", text)
				}
			})
		})
	}
}

func TestReconnectWithoutRecovery(t *testing.T) {
	both(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{})
		s := parleytest.NewServer(t, srv)
		c := s.MustDial()
		id := c.ID()
		c.Drop()
		said.Emit(srv, "missed")
		if c.Reconnect() || c.ID() == id {
			t.Error("recovered")
		}
		c.None()
		// The server ends it, then the client does.
		parleytest.Send(c, quit, event.None{})
		if why := c.Disconnected(); !errors.Is(why, client.ErrServerDisconnect) {
			t.Error(why)
		}
		c.Reconnect()
		parleytest.MustCall(c, add, []int{1})
		c.Close()
		if why := c.Disconnected(); !errors.Is(why, client.ErrClosed) {
			t.Error(why)
		}
		c.Reconnect()
		parleytest.MustCall(c, add, []int{1})
	})
}

// A client that reconnects by itself, after the pause that it is told to make.
func TestReconnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{})
		s := parleytest.NewServer(t, srv)
		c := s.MustDial(parleytest.Reconnecting(client.Reconnection{Delay: time.Minute, MaxDelay: time.Minute, Jitter: -1}))
		c.Drop()
		time.Sleep(59 * time.Second)
		if n, _ := srv.Count(t.Context()); n != 0 {
			t.Errorf("%d sockets", n)
		}
		time.Sleep(2 * time.Second)
		parleytest.MustCall(c, add, []int{1})
	})
}

// Nobody is told that a frozen connection does not work. Both sides find out, or it goes on.
func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{})
		gone := make(chan parley.Reason, 10)
		srv.OnDisconnect(func(_ *parley.Socket, why parley.Reason) { gone <- why })
		s := parleytest.NewServer(t, srv)
		c := s.MustDial()
		c.Freeze()
		said.Emit(srv, "late")
		time.Sleep(10 * time.Second)
		c.None()
		c.Thaw()
		if text := parleytest.Next(c, said); text != "late" {
			t.Errorf("%q", text)
		}
		time.Sleep(10 * time.Minute)
		began := time.Now()
		c.Freeze()
		c = s.MustDial(parleytest.Patience(time.Hour))
		c.Freeze()
		var lost *client.LostError
		if why := c.Disconnected(); !errors.As(why, &lost) || lost.Reason != "ping timeout" {
			t.Errorf("the client says %v", why)
		}
		if why := <-gone; why != parley.PingTimeout {
			t.Errorf("the server says %v", why)
		}
		if passed := time.Since(began); passed < 20*time.Second || passed > time.Minute {
			t.Errorf("after %v", passed)
		}
	})
}

// The client answers the server, also when it was asked before the test could say how.
func TestHandle(t *testing.T) {
	both(t, func(t *testing.T) {
		srv := newServer(t, parley.Options{})
		asked := make(chan string, 10)
		srv.OnConnection(func(s *parley.Socket) {
			go func() {
				answer, err := name.Call(s.Context(), s, event.None{})
				asked <- fmt.Sprint(answer, " ", err)
			}()
		})
		parley.On(srv, said, func(ctx context.Context, s *parley.Socket, _ string) error {
			reply, err := s.EmitWithAck(ctx, "several", []byte{1, 2}, "x")
			if err != nil {
				return err
			}
			asked <- fmt.Sprintf("%s", reply.Args())
			_, err = name.Call(ctx, s, event.None{})
			asked <- fmt.Sprint(err)
			return nil
		})
		s := parleytest.NewServer(t, srv)
		c := s.MustDial()
		time.Sleep(time.Millisecond) // either order is fine
		parleytest.Handle(c, name, func(event.None) (string, error) { return "Ann", nil })
		if got := <-asked; got != "Ann <nil>" {
			t.Error(got)
		}
		parleytest.Handle(c, name, func(event.None) (string, error) { return "", &event.Error{Code: "shy", Message: "no"} })
		c.Handle("several", func(p *client.Packet) any {
			var b []byte
			var text string
			if err := p.Decode(&b, &text); err != nil {
				return err
			}
			return []any{len(b), text}
		})
		parleytest.Send(c, said, "now")
		for _, want := range []string{`[2 "x"]`, "parley: shy: no"} {
			if got := <-asked; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		c.None()
	})
}

// Without a testing.TB, failures panic.
func TestWithoutTB(t *testing.T) {
	s := parleytest.NewServer(nil, newServer(t, parley.Options{}))
	defer s.Close()
	c := s.MustDial()
	parleytest.MustCall(c, add, []int{1})
	c.None()
	defer func() {
		if v := recover(); !strings.Contains(fmt.Sprint(v), "Invalid namespace") {
			t.Errorf("%v", v)
		}
	}()
	c.Of("/nowhere")
}

// A subtest has clients of its own.
func TestFor(t *testing.T) {
	s := parleytest.NewServer(t, newServer(t, parley.Options{}))
	var c *parleytest.Client
	t.Run("sub", func(t *testing.T) {
		c = s.MustDial(parleytest.For(t))
		parleytest.MustCall(c, add, []int{1})
	})
	if c.State().Status != client.Idle {
		t.Errorf("%+v", c.State())
	}
	parleytest.MustCall(s.MustDial(), add, []int{1})
}

// A panic of an HTTP handler is in the test's log.
func TestPanicOfAHandler(t *testing.T) {
	f := &fake{TB: t}
	s := parleytest.NewServer(f, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }))
	if _, err := s.HTTP().Get(s.URL); err == nil {
		t.Error("an answer")
	}
	s.Close()
	if !strings.Contains(f.text(), "boom") {
		t.Errorf("the log is %q", f.text())
	}
	if _, err := s.HTTP().Get(s.URL); err == nil {
		t.Error("an answer after Close")
	}
	_, err := s.Dial()
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
