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

// Limits of the HTTP servers behind Serve and ServePeers.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

// Listen wraps a listener for an http.Server. Idle WebSockets then need no goroutine of their own,
// even over TLS. If the process runs out of file descriptors, the server logs it, at most once a
// minute. New clients can connect again within a fraction of a second after descriptors become
// free.
//
// Pass the wrapped listener to http.Server.Serve or ServeTLS, which adds TLS itself. If you use
// tls.NewListener, pass the wrapped listener to it.
func (s *Server) Listen(l net.Listener) net.Listener {
	return reactor.Listen(l, func(err error) {
		s.notices.Post(slog.LevelWarn, "accept", "parley: connections cannot be accepted", "cause", err, "hint", engine.MoreDescriptors)
	})
}

// ListenAndServe listens on the TCP address and serves only Socket.IO, as Serve does.
func (s *Server) ListenAndServe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// Serve serves only Socket.IO, on connections that l accepts, until Shutdown. It then returns
// ErrServerClosed. To serve pages as well, use your own http.Server, with the Server as the handler
// for Options.Path.
func (s *Server) Serve(l net.Listener) error {
	return s.serve("Serve", &s.httpServer, l, &http.Server{Handler: s, MaxHeaderBytes: maxHeaderBytes})
}

// ServePeers serves PeerHandler on connections that l accepts, until Shutdown, which it outlasts: what
// other servers pass on is answered until the last session has ended. It then returns ErrServerClosed.
// l listens at the address that adapter.Options.Address tells the other servers.
func (s *Server) ServePeers(l net.Listener) error {
	return s.serve("ServePeers", &s.peerServer, l, &http.Server{Handler: s.PeerHandler()})
}

func (s *Server) serve(name string, held **http.Server, l net.Listener, hs *http.Server) error {
	hs.ReadHeaderTimeout, hs.IdleTimeout = headerTimeout, idleTimeout
	s.mu.Lock()
	if s.closed || *held != nil {
		closed := s.closed
		s.mu.Unlock()
		l.Close()
		if closed {
			return ErrServerClosed
		}
		return errors.New("parley: " + name + " was called before")
	}
	*held = hs
	s.mu.Unlock()
	err := hs.Serve(s.Listen(l))
	if errors.Is(err, http.ErrServerClosed) {
		return ErrServerClosed
	}
	return err
}
