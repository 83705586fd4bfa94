package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/client/internal/engine"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/reactor"

	server "github.com/parley-go/parley/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each message with the same one.
type echo struct{ s *server.Session }

func (e *echo) Opened() {}
func (e *echo) Message(binary bool, data []byte) {
	switch {
	case !binary && string(data) == "close":
		e.s.Close()
	default:
		e.s.Send(server.NewMessage(append(make([]byte, server.Headroom), data...), binary))
	}
}
func (e *echo) Closed(server.Reason, error) {}

// serve starts an echo server.
func serve(t *testing.T, change func(*server.Options)) *url.URL {
	t.Helper()
	o := server.Options{
		AllowEIO3: true, Logger: slog.New(slog.DiscardHandler),
		Open: func(s *server.Session) server.Handler { return &echo{s} },
	}
	if change != nil {
		change(&o)
	}
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	u, err := url.Parse(web.URL + "/socket.io/")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// recorder is a Handler that keeps what it gets.
type recorder struct {
	t  *testing.T
	mu sync.Mutex

	session  *engine.Session
	messages []string
	closed   chan *engine.CloseError
	refuse   bool
	change   sync.Cond
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{t: t, closed: make(chan *engine.CloseError, 1)}
	r.change.L = &r.mu
	return r
}

func (r *recorder) Opened(s *engine.Session) { r.session = s }
func (r *recorder) Drained()                 {}
func (r *recorder) Closed(err *engine.CloseError) {
	r.closed <- err
}

func (r *recorder) Receive(binary bool, data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, fmt.Sprint(binary, " ", string(data)))
	r.change.Broadcast()
	if r.refuse {
		return errors.New("refused")
	}
	return nil
}

// wait waits for n messages.
func (r *recorder) wait(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.messages) < n {
		r.change.Wait()
	}
	return r.messages
}

func dial(t *testing.T, u *url.URL, change func(*engine.Options)) (*engine.Session, *recorder, error) {
	t.Helper()
	pool := reactor.New(1)
	transport := &http.Transport{}
	o := &engine.Options{
		URL: u, Protocol: eio.V4, Transports: []string{engine.WebSocket}, OpenTimeout: time.Minute, MaxMessage: 1 << 20,
		HTTP: &http.Client{Transport: transport}, Reactor: pool,
	}
	if change != nil {
		change(o)
	}
	r := newRecorder(t)
	s, err := engine.Dial(t.Context(), o, r)
	t.Cleanup(func() {
		if s != nil {
			s.Cut()
			s.Wait()
		}
		pool.Close()
		transport.CloseIdleConnections()
	})
	return s, r, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kinds are the ways to reach a server.
var kinds = map[string]func(*engine.Options){
	"websocket":       func(o *engine.Options) { o.Transports = []string{"websocket"} },
	"polling":         func(o *engine.Options) { o.Transports = []string{"polling"} },
	"sse":             func(o *engine.Options) { o.Transports = []string{"sse"} },
	"upgrade":         func(o *engine.Options) { o.Transports, o.Upgrade = []string{"polling", "websocket"}, true },
	"websocket, EIO3": func(o *engine.Options) { o.Protocol = eio.V3 },
	"polling, EIO3":   func(o *engine.Options) { o.Protocol, o.Transports = eio.V3, []string{"polling"} },
	"upgrade, EIO3": func(o *engine.Options) {
		o.Protocol, o.Transports, o.Upgrade = eio.V3, []string{"polling", "websocket"}, true
	},
	"the second transport": func(o *engine.Options) { o.Transports = []string{"webtransport", "polling"} },
}

// Everything arrives once and in order, both ways, also while the session is upgraded. What is queued
// when the session is closed still goes out.
func TestEcho(t *testing.T) {
	for name, change := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // servers wait for sessions that have disappeared
			u := serve(t, nil)
			s, r, err := dial(t, u, change)
			must(t, err)
			var want []string
			const n = 300
			for i := range n {
				text := fmt.Sprintf("message %d – ü 🎈", i)
				data := bytes.Repeat([]byte{byte(i), 0x1e, '\n'}, i)
				s.Send(engine.Message{Data: []byte(text)}, engine.Message{Binary: true, Data: data})
				want = append(want, "false "+text, "true "+string(data))
				if i%30 == 0 {
					r.wait(2 * i)
				}
			}
			if got := r.wait(2 * n); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("got %.300q", got)
			}
			if strings.HasPrefix(name, "upgrade") {
				for s.Transport() != engine.WebSocket {
					time.Sleep(time.Millisecond)
				}
			}
			s.Close()
			if err := <-r.closed; err != nil {
				t.Errorf("closed with %v", err)
			}
			s.Wait()
		})
	}
}

// The session ends if the server closes it, or disappears, or if the handler refuses a message.
func TestEnds(t *testing.T) {
	for name, change := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // servers wait for sessions that have disappeared
			u := serve(t, nil)
			s, r, err := dial(t, u, change)
			must(t, err)
			s.Send(engine.Message{Data: []byte("close")})
			if err := <-r.closed; err == nil || err.Reason != engine.TransportClose && err.Reason != engine.TransportError {
				t.Errorf("the server has closed: %v", err)
			}
			s.Wait()

			s, r, err = dial(t, u, change)
			must(t, err)
			r.mu.Lock()
			r.refuse = true
			r.mu.Unlock()
			s.Send(engine.Message{Data: []byte("refuse me")})
			if err := <-r.closed; err == nil || err.Err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("the handler has refused: %v", err)
			}
			s.Wait()
		})
	}
}

// The heartbeat goes on while nothing is sent. Without it, the session ends.
func TestHeartbeat(t *testing.T) {
	for name, change := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // servers wait for sessions that have disappeared
			u := serve(t, func(o *server.Options) { o.PingInterval, o.PingTimeout = 20*time.Millisecond, time.Minute })
			s, r, err := dial(t, u, change)
			must(t, err)
			time.Sleep(100 * time.Millisecond)
			s.Send(engine.Message{Data: []byte("still there")})
			r.wait(1)
			s.Cut()
			if err := <-r.closed; err == nil || err.Reason != engine.ForcedClose {
				t.Errorf("cut: %v", err)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Query().Get("sid") == "" {
				io.WriteString(w, `0{"sid":"x","upgrades":[],"pingInterval":10,"pingTimeout":10}`)
				return
			}
			<-q.Context().Done()
		}))
		defer silent.Close()
		u, err := url.Parse(silent.URL + "/socket.io/")
		must(t, err)
		_, r, err := dial(t, u, kinds["polling"])
		must(t, err)
		if err := <-r.closed; err == nil || err.Reason != engine.PingTimeout {
			t.Errorf("the server is silent: %v", err)
		}
	})
}

// A poll whose answer is lost ends the session: what it carried is gone.
func TestLostPoll(t *testing.T) {
	polls := 0
	lossy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch polls++; polls {
		case 1:
			io.WriteString(w, `0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}`)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			io.WriteString(w, "4later")
		}
	}))
	defer lossy.Close()
	u, err := url.Parse(lossy.URL + "/socket.io/")
	must(t, err)
	_, r, err := dial(t, u, kinds["polling"])
	must(t, err)
	if err := <-r.closed; err == nil || err.Reason != engine.TransportError || len(r.messages) > 0 {
		t.Errorf("closed with %v after %q", err, r.messages)
	}
}

// Dial says why it fails.
func TestRefused(t *testing.T) {
	u := serve(t, func(o *server.Options) {
		o.AllowRequest = func(*http.Request) error { return errors.New("not you") }
	})
	for name, change := range kinds {
		_, _, err := dial(t, u, change)
		var refused *engine.RefusedError
		if !errors.As(err, &refused) || refused.Code != 4 && refused.Message != "Forbidden" { // to WebSockets it only says that
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	pool := reactor.New(1)
	defer pool.Close()
	_, err := engine.Dial(ctx, &engine.Options{URL: u, Protocol: eio.V4, Transports: []string{"websocket"}, OpenTimeout: time.Minute, HTTP: http.DefaultClient, Reactor: pool}, newRecorder(t))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ctx has ended: %v", err)
	}
}

// A paused session receives nothing more than what was under way, and everything once it is resumed.
func TestPause(t *testing.T) {
	for name, change := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // servers wait for sessions that have disappeared
			u := serve(t, nil)
			s, r, err := dial(t, u, change)
			must(t, err)
			s.Pause()
			const n = 50
			for range n {
				s.Send(engine.Message{Data: bytes.Repeat([]byte{'x'}, 10_000)})
			}
			s.Resume()
			r.wait(n)
			s.Close()
			<-r.closed
			s.Wait()
		})
	}
}
