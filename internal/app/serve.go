package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/certs"
	"github.com/parley-go/parley/sse"
	"github.com/parley-go/parley/webtransport"
)

// databaseName is the file in the data directory.
const databaseName = "parley.db"

// Server is the whole of it: the store, the conversations, Socket.IO and HTTP. Its
// methods are called by one goroutine.
type Server struct {
	config       Config
	log          *slog.Logger
	storedIn     string // for people
	store        history.Store
	history      *history.Log
	sockets      *parley.Server
	feeds        *sse.Handler
	certs        certs.Source // nil: no TLS
	http         *http.Server
	redirect     *http.Server         // to TLS, while that is served
	webTransport *webtransport.Server // while that is served
	metrics      *storeMetrics
	draining     atomic.Bool
}

// Open opens the store and makes a server that has yet to Serve. One that never will is
// closed with Shutdown.
func Open(c Config, log *slog.Logger) (*Server, error) {
	store, storedIn, err := openStore(c)
	if err != nil {
		return nil, err
	}
	s, err := newServer(c, log, store)
	if err != nil {
		store.Close()
		return nil, err
	}
	s.storedIn = storedIn
	return s, nil
}

// openStore also says where messages are kept.
func openStore(c Config) (history.Store, string, error) {
	if c.inMemory() {
		return history.NewMemory(), "in memory only: gone when the server stops", nil
	}
	path, err := filepath.Abs(filepath.Join(c.Data, databaseName))
	if err != nil {
		return nil, "", err
	}
	store, err := sqlite.Open(path, nil)
	switch {
	case errors.Is(err, sqlite.ErrInUse):
		return nil, "", fmt.Errorf("%w: stop that one, or choose another directory with --data", err)
	case err != nil:
		return nil, "", fmt.Errorf("%w; choose another directory with --data", err)
	}
	return store, path, nil
}

// newServer returns a server on a store, which it closes at the end.
func newServer(c Config, log *slog.Logger, store history.Store) (*Server, error) {
	s := &Server{config: c, log: log, store: store, metrics: newStoreMetrics(log)}
	var err error
	if s.certs, err = openCertificates(c, log); err != nil {
		return nil, err
	}
	if s.sockets, err = parley.New(c.options(log)); err != nil {
		return nil, err
	}
	s.history = history.NewLog(store, &history.LogOptions{MaxMessage: int(c.MaxMessage), Observer: s.metrics, Logger: log})
	s.openConversations()
	if s.http, err = s.newHTTP(); err != nil {
		s.history.Close()
		return nil, err
	}
	return s, nil
}

// Serve serves what comes to the ports, over TLS if that is configured, until ctx ends, and
// then shuts down; see Shutdown. The server is of no use afterwards, and the ports are closed.
func (s *Server) Serve(ctx context.Context, p *Ports) error {
	defer p.Close()
	failed := make(chan error, 3)
	servers := 1
	if p.Plain != nil {
		s.redirect = s.newRedirect(p)
		servers++
		go func() { failed <- s.redirect.Serve(s.sockets.Listen(p.Plain)) }()
	}
	if p.UDP != nil {
		s.webTransport = s.newWebTransport()
		servers++
		go func() { failed <- s.webTransport.Serve(p.UDP) }()
	}
	go func() {
		l := s.sockets.Listen(p.Main)
		if s.certs == nil {
			failed <- s.http.Serve(l)
		} else {
			failed <- s.http.ServeTLS(l, "", "")
		}
	}()
	running, stop := context.WithCancel(ctx)
	certificates := s.runCertificates(running)
	var err error
	select {
	case err = <-failed:
		servers--
	case <-ctx.Done():
		s.log.Info("shutting down", "timeout", s.config.ShutdownTimeout)
	}
	if e := s.Shutdown(); err == nil {
		err = e
	}
	stop()
	<-certificates
	for range servers {
		<-failed
	}
	return err
}

// Shutdown is graceful: the server is not ready any more, clients are told, what they
// have sent is stored, and the store is closed. Clients get at most half of
// ShutdownTimeout; those that are left then are cut off. The error is the store's, or
// that it did not close in time.
func (s *Server) Shutdown() error {
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.config.ShutdownTimeout)
	defer cancel()
	clients, cancelClients := context.WithTimeout(ctx, s.config.ShutdownTimeout/2)
	defer cancelClients()
	s.feeds.Close()
	if err := s.sockets.Shutdown(clients); err != nil {
		s.log.Warn("clients were cut off", "error", err)
	}
	// What clients have sent may still wait for the store, which cannot be interrupted: a disk
	// that hangs must not keep the process alive. Until then HTTP says how things are.
	stored := make(chan struct{})
	go func() {
		s.history.Close()
		close(stored)
	}()
	select {
	case <-stored:
	case <-clients.Done():
	}
	if err := s.http.Shutdown(clients); err != nil {
		s.http.Close()
	}
	if s.webTransport != nil {
		// Its clients are being told.
		if err := s.webTransport.Shutdown(clients); err != nil {
			s.log.Warn("clients were cut off", "error", err)
		}
	}
	if s.redirect != nil {
		s.redirect.Close() // nothing there takes long
	}
	closed := make(chan error, 1)
	go func() {
		<-stored
		closed <- s.store.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return errors.New("the store did not close in time")
	}
}
