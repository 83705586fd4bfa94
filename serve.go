package parley

import (
	"cmp"
	"context"
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

// grace is how long Run takes to end.
const grace = 20 * time.Second

// Run serves web, whose handler passes requests for Options.Path to s, until ctx ends. Then it ends both
// gracefully, in the order that loses nothing: first s, as Shutdown does, then web. It takes 20 s for that at
// most, then it closes what is left and returns an error. When Run returns, s and web have ended in any case;
// release what your handlers use after that, such as a store.
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := srv.Run(ctx, &http.Server{Addr: ":3000", Handler: mux})
//
// Run listens at web.Addr, through Listen; without an address at the port of http or https. If web.TLSConfig is
// set, it serves TLS with the certificates that are there. If web has no limit on the time to read a request's
// header, Run sets ReadHeaderTimeout to 5 s. For other listeners or another time, call Shutdown of both servers
// yourself.
func (s *Server) Run(ctx context.Context, web *http.Server) error {
	addr, serve := cmp.Or(web.Addr, ":http"), web.Serve
	if web.TLSConfig != nil {
		addr, serve = cmp.Or(web.Addr, ":https"), func(l net.Listener) error { return web.ServeTLS(l, "", "") }
	}
	if web.ReadHeaderTimeout == 0 && web.ReadTimeout == 0 {
		web.ReadHeaderTimeout = headerTimeout
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	served := make(chan error, 1)
	go func() { served <- serve(s.Listen(l)) }()
	select {
	case err := <-served: // it cannot serve, or somebody else has ended it
		return errors.Join(err, s.Close(), web.Close())
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err = errors.Join(s.Shutdown(ctx), web.Shutdown(ctx)); err != nil {
		web.Close()
	}
	<-served
	return err
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
