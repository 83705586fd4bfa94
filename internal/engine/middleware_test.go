package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
)

// log keeps what is logged. It can be read at any time.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// lines returns what has been logged since the last call.
func (l *log) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return slices.Collect(strings.Lines(l.b.String()))
}

// want checks that exactly one line was logged since the last call, and that it has all parts.
func (l *log) want(t *testing.T, parts ...string) {
	t.Helper()
	lines := l.lines()
	if len(lines) != 1 {
		t.Errorf("%d lines in the log, want 1 with %q: %q", len(lines), parts, lines)
		return
	}
	for _, part := range parts {
		if !strings.Contains(lines[0], part) {
			t.Errorf("the log says %q, which lacks %q", lines[0], part)
		}
	}
}

// Every answer has the headers that middleware has set, such as cookies for sessions and sticky
// balancing.
func TestHeadersOfMiddleware(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		sticky := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "node", Value: "a"})
				w.Header().Set("X-Request-Id", "77")
				w.Header().Set("Content-Type", "text/html") // has no effect
				next.ServeHTTP(w, r)
			})
		}
		s := inMemoryBehind(t, engine.Options{Cookie: &http.Cookie{Name: "io"}, CORS: origin.Policy{Origins: []string{"https://example.com"}}}, &http.Server{}, sticky)
		wantHeaders := func(what string, h http.Header, sid string) {
			t.Helper()
			cookies := []string{"node=a"}
			if sid != "" {
				cookies = append(cookies, "io="+sid)
			}
			if got := h["Set-Cookie"]; !slices.Equal(got, cookies) || h.Get("X-Request-Id") != "77" {
				t.Errorf("%s: Set-Cookie %q, want %q; X-Request-Id %q", what, got, cookies, h.Get("X-Request-Id"))
			}
		}
		a := s.do("GET", newPolling, "")
		sid, o := parseOpen(t, a.body).SID, s.owner()
		wantHeaders("polling's handshake", a.header, sid)
		o.send("a")
		wantHeaders("a poll", s.poll(sid).header, "")
		wantHeaders("a POST", s.post(sid, "4a").header, "")
		wantHeaders("an overlong POST", s.post(sid, long(1_000_001)).header, "")
		wantHeaders("a preflight", s.do("OPTIONS", newPolling, "", "Origin", "https://example.com").header, "")
		wantHeaders("a refusal", s.do("GET", newPolling, "", "Origin", "https://evil.test").header, "")
		wantHeaders("an unknown session", s.poll("unknown").header, "")

		p := s.upgradeFrom(sid)
		wantHeaders("an upgrade", p.resp.Header, "")
		if got := p.resp.Header["Content-Type"]; got != nil {
			t.Errorf("Content-Type %q with the status 101", got)
		}
		p.Close()
		p, o = s.openWebSocket()
		wantHeaders("WebSocket's handshake", p.resp.Header, o.session.ID())
		p.Close()
		wantHeaders("a WebSocket that is refused", s.refused(newWebSocket, "Origin", "https://evil.test").header, "")
		wantHeaders("no WebSocket handshake", s.refused(newWebSocket, "Sec-Websocket-Version", "8").header, "")
		f, sid, o := s.openSSE()
		wantHeaders("a stream", f.resp.Header, sid)
		o.session.Close()
		f.close()
	})
}

// naive is a ResponseWriter as middleware for logging often has it. It has the methods of the
// interface and no others.
type naive struct{ http.ResponseWriter }

// wrapper can be unwrapped.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestResponseWriterThatHidesTheConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var l log
		s := inMemoryBehind(t, engine.Options{Logger: l.logger()}, &http.Server{}, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Wrap") != "well" {
					w = naive{w}
				}
				next.ServeHTTP(wrapper{w}, r)
			})
		})
		for range 3 {
			if a := s.refused(newWebSocket); a.status != 500 || a.body != "WebSocket is not possible here" {
				t.Errorf("%d %q", a.status, a.body)
			}
		}
		l.want(t, "level=WARN", "reason=writer", "writer=engine_test.naive", "Unwrap")
		if a := s.do("GET", newSSE, ""); a.status != 500 {
			t.Errorf("sse: status %d", a.status)
		}
		l.want(t, "level=WARN", "transport=sse", "writer=engine_test.naive", "Unwrap")
		p, _ := s.openWebSocket("X-Wrap", "well")
		p.Close()
		sid, o := s.open() // polling works in every case
		wantAnswer(t, s.post(sid, "4a"), 200, "ok")
		o.session.Close()
		s.poll(sid)
		if n := s.Stats().Opened[1].Load(); n != 1 {
			t.Errorf("%d WebSockets were opened, want 1", n)
		}
		if n := s.Stats().RefusedInAll(); n != 4 {
			t.Errorf("%d refused, want 4", n)
		}
	})
}

// Middleware that ends long requests makes polling clients disconnect and reconnect again and
// again.
func TestMiddlewareThatTimesPollsOut(t *testing.T) {
	withTimeout := func(next http.Handler) http.Handler { // like chi's middleware
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
	for name, middleware := range map[string]func(http.Handler) http.Handler{
		"context":        withTimeout,
		"TimeoutHandler": func(next http.Handler) http.Handler { return http.TimeoutHandler(next, 3*time.Second, "") },
	} {
		bubble(t, name, func(t *testing.T) {
			var l log
			s := inMemoryBehind(t, engine.Options{Logger: l.logger()}, &http.Server{}, middleware)
			for range 2 {
				sid, o := s.open()
				s.poll(sid)
				o.wantEnded(engine.TransportError)
			}
			l.want(t, "level=WARN", "TimeoutHandler")
		})
	}
	bubble(t, "client that hangs up", func(t *testing.T) {
		var l log
		s := inMemoryBehind(t, engine.Options{Logger: l.logger()}, &http.Server{}, withTimeout)
		sid, o := s.open()
		p := s.rawStream(ofPolling(sid))
		time.Sleep(time.Second)
		p.Close()
		o.wantEnded(engine.TransportError)
		if lines := l.lines(); len(lines) > 0 {
			t.Errorf("the log says %q", lines)
		}
	})
}

// An http.Server's own timeouts do not apply to requests that wait.
func TestTimeoutsOfTheHTTPServer(t *testing.T) {
	for _, transport := range []string{"polling", "sse"} {
		bubble(t, transport, func(t *testing.T) {
			s := inMemoryBehind(t, engine.Options{}, &http.Server{ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second},
				func(h http.Handler) http.Handler { return h })
			if transport == "sse" {
				f, _, o := s.openSSE()
				time.Sleep(20 * time.Second)
				o.wantOpen()
				o.send("a")
				f.want("4a")
				f.close()
				o.session.Close()
				return
			}
			sid, o := s.open()
			poll := s.pollLater(sid)
			time.Sleep(20 * time.Second)
			o.wantOpen()
			o.send("a")
			wantAnswer(t, <-poll, 200, "4a")
			o.session.Close()
			s.poll(sid)
		})
	}
}
