package parley

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/reactor"
)

// Limits of the HTTP server behind Serve.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

// Listen wraps a listener for an http.Server. WebSockets over TLS, too, then have no goroutine
// each while they are idle. When the process runs out of file descriptors, the log says so, once
// a minute, and clients get in again within a fraction of a second once there are some.
//
// Give it to http.Server.Serve or ServeTLS, which adds TLS itself. If you use tls.NewListener,
// give that the wrapped listener.
func (s *Server) Listen(l net.Listener) net.Listener {
	return reactor.Listen(l, func(err error) {
		s.notices.Post(slog.LevelWarn, "accept", "parley: connections cannot be accepted", "cause", err, "hint", engine.MoreDescriptors)
	})
}

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
	err := hs.Serve(s.Listen(l))
	if errors.Is(err, http.ErrServerClosed) {
		return ErrServerClosed
	}
	return err
}
