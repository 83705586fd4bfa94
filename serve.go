package parley

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/parley-go/parley/internal/poll"
)

// Limits of the HTTP server behind Serve.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

// Listen wraps a listener so that WebSockets over TLS, too, are without a goroutine each while
// they are idle. Give it to http.Server.ServeTLS, which adds TLS itself; a listener of
// tls.NewListener must be given the wrapped one. Connections without TLS need no wrapping.
func Listen(l net.Listener) net.Listener { return poll.Listen(l) }

// ListenAndServe listens on the TCP address and serves Socket.IO alone, as Serve does.
func (s *Server) ListenAndServe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// Serve serves Socket.IO alone, from connections that l accepts, until Shutdown; then it
// returns ErrServerClosed. To serve pages as well, use an http.Server of your own, with the
// Server as handler of Options.Path.
func (s *Server) Serve(l net.Listener) error {
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	s.mu.Lock()
	if s.closed || s.httpServer != nil {
		closed := s.closed
		s.mu.Unlock()
		l.Close()
		if closed {
			return ErrServerClosed
		}
		return errors.New("parley: Serve was called before")
	}
	s.httpServer = hs
	s.mu.Unlock()
	err := hs.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return ErrServerClosed
	}
	return err
}
