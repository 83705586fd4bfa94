package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// from returns a header that sets the client's address, with fromHeader.
func from(host string) []string { return []string{"From", host + ":1000"} }

func fromHeader(r *http.Request) string { return r.Header.Get("From") }

// openFrom begins a session over polling.
func (s *server) openFrom(host string) *owner {
	s.t.Helper()
	if a := s.do("GET", newPolling, "", from(host)...); a.status != 200 {
		s.t.Fatalf("handshake: %d %s", a.status, a.body)
	}
	return s.owner()
}

// At MaxPending the oldest pending session makes room, over every transport. One that has joined does
// not.
func TestOldestPendingSessionMakesRoom(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxPending: 3, ClientAddress: fromHeader})
		joined := s.openFrom("192.0.2.9")
		joined.session.SetPending(false)
		p, overWebSocket := s.openWebSocket(from("192.0.2.1")...)
		f, _, overSSE := s.openSSE(from("192.0.2.2")...)
		overPolling := s.openFrom("192.0.2.3")
		polled := s.pollLater(overPolling.session.ID())

		s.openFrom("192.0.2.4")
		overWebSocket.wantEnded(engine.ForcedClose)
		p.wantClose(1005, "")
		overSSE.wantOpen()

		s.openFrom("192.0.2.5")
		overSSE.wantEnded(engine.ForcedClose)
		if packet, err := f.packet(); packet != "1" {
			t.Errorf("the stream ends with %q, %v", packet, err)
		}
		overPolling.wantOpen()

		newest := s.openFrom("192.0.2.6")
		overPolling.wantEnded(engine.ForcedClose)
		wantAnswer(t, <-polled, 200, "1")
		s.wantSessions(4)
		if got := s.Conns(); got != 0 {
			t.Errorf("%d connections", got)
		}
		if got := s.Stats().MadeRoom.Load(); got != 3 {
			t.Errorf("%d made room, want 3", got)
		}
		joined.wantOpen()
		newest.wantOpen()
	})
}

func TestMaxPendingPerAddress(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxPendingPerAddress: 2, ClientAddress: fromHeader})
		other := s.openFrom("192.0.2.2")
		first, second := s.openFrom("192.0.2.1"), s.openFrom("192.0.2.1")
		third := s.openFrom("192.0.2.1")
		first.wantEnded(engine.ForcedClose)
		second.wantOpen()
		third.wantOpen()
		other.wantOpen()
		for range 5 { // this machine may have any number
			s.openFrom("127.0.0.1").wantOpen()
		}
		s.wantSessions(8)
	})
}

// The log names the limit for which pending sessions make room.
func TestMadeRoomIsLogged(t *testing.T) {
	for setting, o := range map[string]engine.Options{
		"max-pending-connections":     {MaxPending: 1},
		"max-pending-per-address":     {MaxPendingPerAddress: 1},
		"max-connections)":            {MaxSessions: 1, MaxPending: 9},
		"max-connections-per-address": {MaxPerAddress: 1, MaxPending: 9},
	} {
		bubble(t, setting, func(t *testing.T) {
			var l log
			o.Logger, o.ClientAddress = l.logger(), fromHeader
			s := inMemory(t, o)
			for range 3 {
				s.openFrom("192.0.2.1")
			}
			l.want(t, "made room", setting)
		})
	}
}

// One address that floods the server pushes out its own sessions, not the older ones of others.
func TestPendingSessionsOfOneAddressDoNotPushOutOthers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxPending: 10, ClientAddress: fromHeader})
		honest := []*owner{s.openFrom("192.0.2.2"), s.openFrom("192.0.2.3")}
		for range 100 {
			s.openFrom("192.0.2.1")
		}
		honest = append(honest, s.openFrom("192.0.2.4"), s.openFrom("192.0.2.4"))
		for range 100 {
			s.openFrom("192.0.2.1")
		}
		for _, o := range honest[1:] {
			o.wantOpen()
		}
		s.wantSessions(10)
	})
}

// A client that floods the server over few connections pushes out its own sessions, not those of
// others with the same address.
func TestPendingSessionsOfOneConnectionMakeRoomFirst(t *testing.T) {
	for _, o := range []engine.Options{{MaxPending: 10}, {MaxPendingPerAddress: 10}} {
		bubble(t, "", func(t *testing.T) {
			o.ClientAddress = func(*http.Request) string { return "192.0.2.1" }
			s := inMemory(t, o)
			open := func(conn string) *owner {
				r := httptest.NewRequest("GET", "/engine.io/?"+newPolling, nil)
				r.RemoteAddr = conn
				s.ServeHTTP(httptest.NewRecorder(), r)
				return s.owner()
			}
			neighbors := []*owner{open("192.0.2.1:1"), open("192.0.2.1:2")}
			for range 100 {
				open("192.0.2.1:3")
			}
			for _, o := range append(neighbors, open("192.0.2.1:4")) {
				o.wantOpen()
			}
			s.wantSessions(10)
		})
	}
}

// Pending sessions count for the limits of all sessions too, and make room there as well.
func TestPendingSessionsMakeRoomForSessions(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		for _, o := range []engine.Options{{MaxSessions: 2}, {MaxPerAddress: 2}} {
			o.MaxPending, o.ClientAddress = 100, fromHeader
			s := inMemory(t, o)
			joined, first := s.openFrom("192.0.2.1"), s.openFrom("192.0.2.1")
			joined.session.SetPending(false)
			second := s.openFrom("192.0.2.1")
			first.wantEnded(engine.ForcedClose)
			second.session.SetPending(false)
			if a := s.do("GET", newPolling, "", from("192.0.2.1")...); a.status != 503 && a.status != 429 {
				t.Errorf("answer %d although both have joined", a.status)
			}
			joined.wantOpen()
			second.wantOpen()
			s.wantSessions(2)
		}
	})
}

func TestJoinTimeout(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{JoinTimeout: 10 * time.Second})
		start := time.Now()
		sid, polling := s.open()
		_, joined := s.open()
		joined.session.SetPending(false)
		time.Sleep(4 * time.Second)
		p, overWebSocket := s.openWebSocket()
		_, refused := s.open()
		refused.session.SetPending(false)
		time.Sleep(4 * time.Second)
		refused.session.SetPending(true) // has its whole time again

		for _, tt := range []struct {
			o     *owner
			after time.Duration
		}{{polling, 10 * time.Second}, {overWebSocket, 14 * time.Second}, {refused, 18 * time.Second}} {
			tt.o.wantEnded(engine.ForcedClose)
			if took := time.Since(start); took < tt.after || took > tt.after+time.Second {
				t.Errorf("it ended after %v, want %v", took, tt.after)
			}
		}
		p.wantClose(1005, "")
		wantAnswer(t, s.poll(sid), 400, `{"code":1,"message":"Session ID unknown"}`)
		joined.wantOpen()
		s.wantSessions(1)
		if got := s.Stats().JoinTimeouts.Load(); got != 3 {
			t.Errorf("%d timeouts counted, want 3", got)
		}
	})
}

// Clients of revision 3 join unasked: their first request shows that they are there.
func TestJoinTimeoutOfRevision3(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{AllowEIO3: true, JoinTimeout: 10 * time.Second})
		_, silent := s.open3("")
		query, polls := s.open3("")
		s.later(query)
		query, posts := s.open3("")
		s.do("POST", query, "1:2")
		p, overWebSocket := s.openWebSocket3("")
		defer p.Close()
		time.Sleep(11 * time.Second)
		silent.wantEnded(engine.ForcedClose)
		polls.wantOpen()
		posts.wantOpen()
		overWebSocket.wantOpen()
		polls.session.SetPending(true) // no namespace wants it, and polls do not change that
		time.Sleep(5 * time.Second)
		polls.wantOpen()
		time.Sleep(6 * time.Second)
		polls.wantEnded(engine.ForcedClose)
	})
}

// A large handshake counts for more than one.
func TestPendingSessionsCountTheirHandshake(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxPending: 5, ClientAddress: fromHeader})
		for range 20 {
			s.do("GET", newPolling, "", append(from("192.0.2.1"), "Cookie", strings.Repeat("c", 5<<10))...)
			s.owner()
		}
		s.wantSessions(1) // a second one would be the sixth of 2 KiB
		s.do("GET", newPolling, "", append(from("192.0.2.1"), "Cookie", strings.Repeat("c", 15<<10))...)
		s.owner().wantOpen() // however large it is
		s.wantSessions(1)
	})
}

// A session may have to make room before its handler exists.
func TestPendingSessionMakesRoomWhileItOpens(t *testing.T) {
	for _, o := range []engine.Options{{MaxPending: 1}, {MaxPending: 100, MaxSessions: 1}} {
		bubble(t, "", func(t *testing.T) {
			var s *server
			var nested atomic.Bool
			o.Open = func(session *engine.Session) engine.Handler {
				if !nested.Swap(true) {
					s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/engine.io/?"+newPolling, nil))
				}
				return echo(session)
			}
			s = inMemory(t, o)
			s.do("GET", newPolling, "")
			second, first := s.owner(), s.owner()
			first.wantEnded(engine.ForcedClose)
			second.wantOpen()
			s.wantSessions(1)
		})
	}
}

// A handshake whose request has ended leaves no session.
func TestHandshakeWhoseClientIsGone(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			reset := make(chan struct{}, 1)
			ended := func(r *http.Request) error {
				reset <- struct{}{}
				<-r.Context().Done()
				return nil
			}
			var o engine.Options
			if when == "before" {
				o.AllowRequest = ended
			} else {
				var request atomic.Pointer[http.Request]
				o.AllowRequest = func(r *http.Request) error { request.Store(r); return nil }
				o.Open = func(session *engine.Session) engine.Handler {
					ended(request.Load())
					return echo(session)
				}
			}
			c := overHTTP2(t, o)
			for _, query := range []string{newPolling, newSSE} {
				ctx, cancel := context.WithCancel(t.Context())
				r, err := http.NewRequestWithContext(ctx, "GET", "https://"+c.host+"/engine.io/?"+query, nil)
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() {
					resp, err := c.client.Do(r)
					if err == nil {
						resp.Body.Close()
					}
					done <- err
				}()
				<-reset
				cancel() // sends RST_STREAM
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Fatalf("%s: %v", query, err)
				}
				switch when {
				case "before":
					eventually(t, "the refusal is counted", func() bool { return c.Stats().RefusedInAll() > 0 })
				case "after":
					c.owner().wantEnded(engine.TransportError)
					eventually(t, "no session is left", func() bool { return c.Sessions() == 0 })
				}
			}
		})
	}
}

// What is kept of a handshake is what it needs, whatever else the request has.
func TestHandshakeKeepsOnlyWhatIsNeeded(t *testing.T) {
	const n, cookie = 1000, 10 << 10
	used := func(keep []string) int {
		srv, err := engine.NewServer(engine.Options{KeepHeaders: keep, Open: echo, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		for range n {
			r := httptest.NewRequest("GET", "/engine.io/?"+newPolling, nil)
			r.Header.Set("Cookie", strings.Repeat("c", cookie))
			r.Header.Set("X-Token", strings.Repeat("t", 100))
			srv.ServeHTTP(httptest.NewRecorder(), r)
		}
		if got := srv.Sessions(); got != n {
			t.Fatalf("%d sessions", got)
		}
		t.Cleanup(func() { srv.Shutdown(ended(t)) }) // later, or what it frees would count
		return (heap() - before) / n
	}
	all, one, none := used(nil), used([]string{"x-token"}), used([]string{})
	t.Logf("%d, %d and %d bytes a session", all, one, none)
	if all < cookie || all > cookie+cookie/8+3000 { // the sizes of Go's allocations are up to an eighth apart
		t.Errorf("%d bytes a session that keeps %d", all, cookie)
	}
	if none > 3000 || one > none+300 {
		t.Errorf("%d bytes a session that keeps no header, %d if it keeps one", none, one)
	}
}

// ended returns a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestKeepHeaders(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{KeepHeaders: []string{"x-token", "host"}, MaxHandshake: 100})
		a := s.do("GET", newPolling, "", "X-Token", "t", "Cookie", strings.Repeat("c", 1000), "Origin", "http://"+s.host)
		if a.status != 200 {
			t.Fatalf("answer %d: what is not kept does not count", a.status)
		}
		h := s.owner().session.Handshake()
		if got := h.Header(); len(got) != 2 || got.Get("X-Token") != "t" || got.Get("Host") != s.host {
			t.Errorf("headers %v", got)
		}
		if !h.CrossOrigin {
			t.Error("the Origin was not noticed")
		}
		if a := s.do("GET", newPolling, "", "X-Token", strings.Repeat("t", 100)); a.status != 431 {
			t.Errorf("answer %d to a large handshake", a.status)
		}
	})
}

// A WebTransport session without its first packet is pending too.
func TestWebTransportBeforeItsFirstPacketIsPending(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxPending: 2})
		serve := func() (answered chan *httptest.ResponseRecorder) {
			answered = make(chan *httptest.ResponseRecorder, 1)
			w := httptest.NewRecorder()
			r := httptest.NewRequest("CONNECT", "/engine.io/", nil)
			go func() {
				s.ServeWebTransport(w, r, func(ctx context.Context) (engine.WebTransport, error) {
					<-ctx.Done()
					w.WriteHeader(http.StatusRequestTimeout)
					return nil, ctx.Err()
				})
				answered <- w
			}()
			synctest.Wait()
			return answered
		}
		first := serve()
		_, o := s.open()
		second := serve()
		select {
		case w := <-first:
			if w.Code != http.StatusRequestTimeout {
				t.Errorf("status %d", w.Code)
			}
		default:
			t.Fatal("the oldest did not make room")
		}
		serve()
		o.wantEnded(engine.ForcedClose)
		s.wantSessions(0)
		if len(second) > 0 {
			t.Error("the second ended too")
		}
	})
}
