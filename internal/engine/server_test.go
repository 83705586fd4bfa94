package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/wiretest"
)

// server is an engine.Server behind an http.Server, with a client for it.
type server struct {
	*engine.Server
	t      testing.TB
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	scheme string
	host   string
	client *http.Client
	owners chan *owner
	bubble bool
}

// bubble runs a subtest in its own bubble, where waiting takes no time.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// inMemory serves over pipes. Call it in a bubble.
func inMemory(t testing.TB, o engine.Options) *server {
	return inMemoryBehind(t, o, &http.Server{}, func(h http.Handler) http.Handler { return h })
}

// inMemoryBehind is inMemory with a given HTTP server and middleware.
func inMemoryBehind(t testing.TB, o engine.Options, hs *http.Server, middleware func(http.Handler) http.Handler) *server {
	t.Cleanup(func() { time.Sleep(time.Second) }) // net/http waits half a second before it ends some connections
	l := wiretest.Listen()
	host := "parley.test"
	if o.JSONP { // elsewhere it needs TLS, or a page that says where it is from
		host = "localhost"
	}
	s := serve(t, o, hs, middleware, l, l.Dial, host, time.Minute)
	s.bubble = true
	return s
}

// overTCP serves on a real socket.
func overTCP(t testing.TB, o engine.Options) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, o, &http.Server{}, func(h http.Handler) http.Handler { return h }, reactor.Listen(l, nil), new(net.Dialer).DialContext, l.Addr().String(), 2*time.Minute)
}

func serve(t testing.TB, o engine.Options, hs *http.Server, middleware func(http.Handler) http.Handler, l net.Listener, dial func(context.Context, string, string) (net.Conn, error), host string, patience time.Duration) *server {
	s := &server{t: t, dial: dial, scheme: "http", host: host, owners: make(chan *owner, 10_000)}
	open := o.Open
	o.Open = func(session *engine.Session) engine.Handler {
		own := &owner{t: t, server: s, session: session, opened: s.owners, ended: make(chan struct{})}
		if open != nil {
			own.next = open(session)
		}
		return own
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.Server, err = engine.NewServer(o); err != nil {
		t.Fatal(err)
	}
	hs.Handler = middleware(s.Server)
	go hs.Serve(l)
	s.client = &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 100}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v, %d sessions left", err, s.Sessions())
		}
		for i, transport := range engine.Transports {
			if n := s.Stats().Open[i].Load(); n != 0 {
				t.Errorf("%d sessions of %s are open after all have ended", n, transport)
			}
		}
		s.client.CloseIdleConnections()
		hs.Close()
	})
	return s
}

// owner is a session's handler that records its calls.
type owner struct {
	t       testing.TB
	server  *server
	session *engine.Session
	opened  chan<- *owner  // receives this owner
	next    engine.Handler // also called, if not nil

	mu     sync.Mutex
	got    []string // messages; binary ones with the prefix "bin:"
	ended  chan struct{}
	reason engine.Reason
	cause  error
}

func (o *owner) Opened() {
	o.opened <- o
	if o.next != nil {
		o.next.Opened()
	}
}

func (o *owner) Message(binary bool, data []byte) {
	m := string(data)
	if binary {
		m = "bin:" + m
	}
	o.mu.Lock()
	o.got = append(o.got, m)
	o.mu.Unlock()
	if o.next != nil {
		o.next.Message(binary, data)
	}
}

func (o *owner) Closed(reason engine.Reason, cause error) {
	o.mu.Lock()
	o.reason, o.cause = reason, cause
	o.mu.Unlock()
	close(o.ended) // a second call panics
	if o.next != nil {
		o.next.Closed(reason, cause)
	}
}

func (o *owner) received() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.got)
}

// isOpen reports whether the session has not ended.
func (o *owner) isOpen() bool {
	select {
	case <-o.ended:
		return false
	default:
		return true
	}
}

// wantEnded waits for the session's end and, in a bubble, for everything that follows from it.
func (o *owner) wantEnded(reason engine.Reason) {
	o.t.Helper()
	select {
	case <-o.ended:
	case <-time.After(patience()):
		o.t.Fatalf("the session is still open, want %q", reason)
	}
	if o.server.bubble {
		synctest.Wait()
	}
	if o.reason != reason {
		o.t.Errorf("the session ended with %q (%v), want %q", o.reason, o.cause, reason)
	}
}

func (o *owner) wantOpen() {
	o.t.Helper()
	if !o.isOpen() {
		o.t.Errorf("the session has ended with %q (%v), want it open", o.reason, o.cause)
	}
}

func (o *owner) wantReceived(want ...string) {
	o.t.Helper()
	if got := o.received(); !slices.Equal(got, want) {
		o.t.Errorf("received %.200q, want %.200q", got, want)
	}
}

func (o *owner) send(texts ...string) bool {
	for _, s := range texts {
		if !o.session.Send(message(s)) {
			return false
		}
	}
	return true
}

// message makes a text message or, after "bin:", a binary one.
func message(s string) *engine.Message {
	data, binary := strings.CutPrefix(s, "bin:")
	return engine.NewMessage(append(make([]byte, engine.Headroom), data...), binary)
}

// echo answers each message with itself.
func echo(s *engine.Session) engine.Handler { return echoer{s} }

type echoer struct{ session *engine.Session }

func (e echoer) Message(binary bool, data []byte) {
	e.session.Send(engine.NewMessage(append(make([]byte, engine.Headroom), data...), binary))
}

func (e echoer) Opened()                     {}
func (e echoer) Closed(engine.Reason, error) {}

// answer is an HTTP response.
type answer struct {
	status int
	header http.Header
	body   string
}

const (
	newPolling   = "EIO=4&transport=polling"
	newWebSocket = "EIO=4&transport=websocket"
)

func ofPolling(sid string) string   { return newPolling + "&sid=" + sid }
func ofWebSocket(sid string) string { return newWebSocket + "&sid=" + sid }

// do sends a request with the literal query. header alternates names and values.
func (s *server) do(method, query, body string, header ...string) answer {
	s.t.Helper()
	a, err := s.try(method, query, strings.NewReader(body), header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *server) try(method, query string, body io.Reader, header ...string) (answer, error) {
	r := &http.Request{
		Method: method,
		URL:    &url.URL{Scheme: s.scheme, Host: s.host, Path: "/engine.io/", RawQuery: query},
		Header: http.Header{},
	}
	if method == http.MethodPost {
		r.Body = io.NopCloser(body)
		if sized, ok := body.(*strings.Reader); ok {
			r.ContentLength = int64(sized.Len())
		}
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

// opening is the content of an OPEN packet.
type opening struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

func parseOpen(t testing.TB, packet string) (o opening) {
	t.Helper()
	if err := json.Unmarshal([]byte(strings.TrimPrefix(packet, "0")), &o); err != nil || packet[0] != '0' {
		t.Fatalf("OPEN packet %q: %v", packet, err)
	}
	return o
}

// open begins a session over polling.
func (s *server) open() (sid string, o *owner) {
	s.t.Helper()
	a := s.do("GET", newPolling, "")
	if a.status != 200 {
		s.t.Fatalf("handshake: %d %s", a.status, a.body)
	}
	return parseOpen(s.t, a.body).SID, s.owner()
}

// owner returns the handler of the next session that opens.
func (s *server) owner() *owner {
	s.t.Helper()
	select {
	case o := <-s.owners:
		return o
	case <-time.After(patience()):
		s.t.Fatal("no session was opened")
		return nil
	}
}

func (s *server) poll(sid string) answer {
	s.t.Helper()
	return s.do("GET", ofPolling(sid), "")
}

// pollLater polls and returns when the poll is parked. Call it in a bubble.
func (s *server) pollLater(sid string) <-chan answer { return s.later(ofPolling(sid)) }

func (s *server) post(sid, body string) answer {
	s.t.Helper()
	return s.do("POST", ofPolling(sid), body)
}

func wantAnswer(t testing.TB, a answer, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("answer %d %.200q, want %d %q", a.status, a.body, status, body)
	}
}

// eventually waits, outside bubbles, until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); !cond(); <-tick.C {
		if time.Since(start) > patience() {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// patience is how long to wait for something that must happen. A bubble's clock, which begins in
// the year 2000, is exact. With a real clock the machine may be slow.
func patience() time.Duration {
	if time.Now().Year() == 2000 {
		return 10 * time.Second
	}
	return 2 * time.Minute
}

func (s *server) wantSessions(n int) {
	s.t.Helper()
	if !s.bubble { // the end of a session is reported before it is counted
		eventually(s.t, fmt.Sprintf("%d sessions", n), func() bool { return s.Sessions() == n })
	}
	if got := s.Sessions(); got != n {
		s.t.Errorf("%d sessions, want %d", got, n)
	}
}
