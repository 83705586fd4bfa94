package parleytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Server serves clients in memory. Its methods belong to the goroutine of the test, because they may end it.
type Server struct {
	// URL is the server's URL, for [Server.HTTP] and for other clients that use it. The name in it is known
	// nowhere else.
	URL string

	t     testing.TB
	h     http.Handler
	l     *listener
	web   *http.Server
	http  *http.Client
	log   *testLog
	ended chan struct{} // Serve has returned
	close func()

	mu      sync.Mutex
	ports   int
	served  map[*conn]bool // the server's ends
	clients []*Client
}

// NewServer returns a server that serves h: a *parley.Server, or your mux with one in it. The end of the test
// closes it, its clients, and h if h has a method Close() error, as a *parley.Server does. Close the
// server in a mux yourself.
//
// In a synctest bubble, call NewServer, and make h, in the bubble. In an Example, which has no testing.TB, t
// is nil: then call Close, and a failure panics.
func NewServer(t testing.TB, h http.Handler) *Server {
	if t == nil {
		t = nobody{}
	}
	t.Helper()
	if h == nil {
		t.Fatal("parleytest: NewServer needs a handler")
	}
	s := &Server{URL: "http://parley.test", t: t, h: h, l: listen(), log: &testLog{t: t}, ended: make(chan struct{}), served: map[*conn]bool{}}
	s.web = &http.Server{Handler: h, ErrorLog: log.New(s.log, "", 0)}
	s.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, _, err := s.dial(ctx, nil)
		return client, err
	}}}
	s.close = sync.OnceFunc(s.end)
	go func() {
		defer close(s.ended)
		_ = s.web.Serve(s.l)
	}()
	t.Cleanup(s.Close)
	return s
}

// HTTP returns a client for the other handlers of the mux, in memory as well. Cookies are yours to keep: set
// its Jar, and give the same one to [With].
func (s *Server) HTTP() *http.Client { return s.http }

// dial makes a connection. from is the client's address; nil: one on this machine.
func (s *Server) dial(ctx context.Context, from net.IP) (client, server *conn, err error) {
	if from == nil {
		from = net.IPv4(127, 0, 0, 1)
	}
	s.mu.Lock()
	s.ports++
	addr := &net.TCPAddr{IP: from, Port: 1024 + s.ports%60000}
	s.mu.Unlock()
	client, server, err = s.l.dial(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	s.served[server] = true
	for c := range s.served {
		if isClosed(c.closed) {
			delete(s.served, c)
		}
	}
	s.mu.Unlock()
	return client, server, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Close closes the clients and the server, and waits until their goroutines have ended. The end of the test
// does it for you.
func (s *Server) Close() {
	s.t.Helper()
	s.close()
}

func (s *Server) end() {
	s.t.Helper()
	s.mu.Lock()
	clients := s.clients
	s.mu.Unlock()
	for _, c := range clients {
		c.end()
	}
	s.http.CloseIdleConnections()
	if h, ok := s.h.(io.Closer); ok {
		if err := h.Close(); err != nil {
			s.t.Errorf("parleytest: Close of the handler: %v", err)
		}
	}
	if err := s.web.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.t.Errorf("parleytest: %v", err)
	}
	<-s.ended
	s.mu.Lock()
	served := s.served
	s.mu.Unlock()
	for c := range served {
		c.cut()
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for c := range served {
		select {
		case <-c.closed:
		case <-late.C:
			s.t.Errorf("parleytest: the test is over, and a handler of the server runs on since %v", patience)
			return
		}
	}
	s.log.end()
}

// testLog writes lines to the log of a test, until that ends.
type testLog struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.t.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

// errorf fails the test, from any goroutine.
func (l *testLog) errorf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.t.Errorf(format, args...)
	}
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}
