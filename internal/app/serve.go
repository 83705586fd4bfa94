package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historybus"
	"github.com/parley-go/parley/http2limit"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/certs"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/notice"
	"github.com/parley-go/parley/sse"
	"github.com/parley-go/parley/webtransport"
)

// Server is the complete server: the store, the conversations, Socket.IO and HTTP. Only one
// goroutine may call its methods.
type Server struct {
	config       Config
	log          *slog.Logger
	storedIn     string // description for people
	store        history.Store
	history      *history.Log
	sockets      *parley.Server
	node         *node // nil: no cluster
	gate         *gate
	chat         *chat.Service
	feeds        *sse.Handler
	certs        certs.Source // nil: no TLS
	routes       http.Handler
	http         *http.Server         // nil before Serve, as the servers below
	http2        *http2limit.Limit    // nil: no TLS, so no HTTP/2
	redirect     *http.Server         // to TLS; nil if not served
	control      *http.Server         // for commands on this machine; nil if not served
	telemetry    *http.Server         // for metrics on a port of their own; nil if not served
	webTransport *webtransport.Server // nil if not served
	metrics      *storeMetrics
	notices      *notice.Board
	crowd        *crowd
	requests     *requests
	hostsRefused atomic.Uint64
	draining     atomic.Bool
	followers    sync.WaitGroup // what follows the store
}

// Open opens the store and returns a server that is ready for Serve. If you never call Serve, call
// Shutdown to close it.
func Open(c Config, log *slog.Logger) (*Server, error) {
	store, storedIn, err := openStore(context.Background(), c, log)
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

// newServer returns a server over a store, after it has joined its cluster. Shutdown closes the store.
func newServer(c Config, log *slog.Logger, store history.Store) (_ *Server, err error) {
	s := &Server{config: c, log: log, store: store, metrics: newStoreMetrics(log), notices: notice.New(log)}
	var opened []func()
	defer func() {
		if err != nil {
			for _, closeIt := range slices.Backward(opened) {
				closeIt()
			}
		}
	}()
	s.crowd = s.newCrowd()
	s.requests = c.newRequests(func(address string) { s.overQuota(budget.Requests, address) })
	if err := c.takeStateDir(); err != nil {
		return nil, err
	}
	if s.certs, err = openCertificates(c, log); err != nil {
		return nil, err
	}
	if c.Cluster != "" {
		if s.node, err = openNode(&c, store, log); err != nil {
			return nil, err
		}
		opened = append(opened, s.node.close)
	}
	if s.gate, err = openGate(&s.config, store, log, s.notices, s.node, s.lockOut, s.metrics.failed); err != nil {
		return nil, err
	}
	opened = append(opened, s.gate.Close)
	o := c.options(log)
	o.Authorize, o.ConnContext = s.gate, s.gate.shown
	o.AllowRequest = func(r *http.Request) error { return s.admit(o.ClientAddress(r)) }
	if s.node != nil {
		o.Cluster, o.ClusterSecret = s.node.wire, s.node.secret
	}
	if s.sockets, err = parley.New(o); err != nil {
		return nil, err
	}
	opened = append(opened, func() { s.sockets.Close() })
	lo := &history.LogOptions{MaxMessage: int(c.MaxMessage), LostAfter: storeTimeout, Observer: s.metrics, Logger: log}
	if s.node != nil {
		lo.Bus = historybus.New(s.node.native, s.node.bus)
		s.gate.tickets.Join(s.node.native)
	}
	s.history = history.NewLog(store, lo)
	opened = append(opened, s.history.Close)
	s.openConversations()
	if s.routes, err = s.newRoutes(); err != nil {
		return nil, err
	}
	if s.node != nil {
		err = s.node.join(context.Background())
	}
	return s, err
}

// Serve serves requests on the ports, over TLS if configured, until ctx ends. Then it shuts down;
// see Shutdown. Afterwards the ports are closed, and you cannot use the server again.
func (s *Server) Serve(ctx context.Context, p *Ports) error {
	defer p.Close()
	if !s.config.InsecureOpen && !s.gate.access.Closed() && len(s.config.AllowedHosts)+len(s.config.TrustedProxies) > 0 {
		s.log.Warn("the server believes who clients say they are, and the settings name a proxy, through which others may reach it",
			"hint", "parley operator add NAME --admin closes it")
	}
	var err error
	if s.http, err = s.newHTTP(p); err != nil {
		return errors.Join(err, s.Shutdown())
	}
	failed := make(chan error, 6)
	servers := 1
	if p.Plain != nil {
		s.redirect = s.newRedirect(p)
		servers++
		go func() { failed <- s.redirect.Serve(s.sockets.Listen(p.Plain)) }()
	}
	if p.UDP != nil {
		s.webTransport = s.newWebTransport(p)
		servers++
		go func() { failed <- s.webTransport.Serve(p.UDP) }()
	}
	if p.Metrics != nil { // after the servers that it reports on
		s.telemetry = s.newTelemetry(p)
		servers++
		go func() { failed <- s.telemetry.Serve(s.sockets.Listen(p.Metrics)) }()
	}
	go func() {
		l := s.sockets.Listen(p.Main)
		if s.certs == nil {
			failed <- s.http.Serve(l)
		} else {
			failed <- s.http.ServeTLS(l, "", "")
		}
	}()
	if s.node != nil && s.node.port != nil {
		servers++
		go func() { failed <- s.sockets.ServePeers(s.node.port) }()
	}
	if l := s.listenControl(); l != nil {
		s.control = s.newControl()
		servers++
		go func() { failed <- s.control.Serve(l) }()
	}
	running, stop := context.WithCancel(ctx)
	certificates := s.runCertificates(running)
	following, stopFollowing := context.WithCancel(ctx)
	s.followers.Go(func() { s.gate.access.Follow(following) })
	retention := s.runRetention(following)
	select {
	case err = <-failed:
		servers--
	case <-ctx.Done():
		s.log.Info("shutting down", "timeout", s.config.ShutdownTimeout)
		s.drain()
	}
	stopFollowing()
	if e := s.Shutdown(); err == nil {
		err = e
	}
	stop()
	<-certificates
	<-retention
	for range servers {
		<-failed
	}
	return err
}

// maxDrain is how long clients may take to move to other servers.
const maxDrain = 10 * time.Second

// drain lets clients move to the other servers of the cluster, if there are any, not all at once.
func (s *Server) drain() {
	s.draining.Store(true)
	if s.node == nil || s.node.alone() {
		return
	}
	d := min(maxDrain, s.config.ShutdownTimeout/2)
	s.config.ShutdownTimeout -= d
	s.log.Info("clients move to the other servers", "within", d)
	var both sync.WaitGroup
	both.Go(func() { s.feeds.Drain(context.Background(), d) })
	both.Go(func() { s.sockets.Drain(context.Background(), d) })
	both.Wait()
}

// Shutdown ends the server gracefully. The server reports that it is not ready, tells its clients,
// stores what they have sent, and closes the store. Clients get at most half of ShutdownTimeout;
// then the remaining ones are cut off. The error comes from the store, or says that the store did
// not close in time.
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
	if s.control != nil {
		if err := s.control.Shutdown(clients); err != nil {
			s.control.Close()
		}
	}
	// Messages from clients may still be waiting for the store. A commit cannot be interrupted, but
	// a disk that hangs must not keep the process alive. Until then HTTP reports the state.
	stored := make(chan struct{})
	go func() {
		s.history.Close()
		close(stored)
	}()
	select {
	case <-stored:
	case <-clients.Done():
	}
	if s.http != nil {
		if err := s.http.Shutdown(clients); err != nil {
			s.http.Close()
		}
	}
	if s.webTransport != nil {
		// This tells its clients.
		if err := s.webTransport.Shutdown(clients); err != nil {
			s.log.Warn("clients were cut off", "error", err)
		}
	}
	for _, short := range []*http.Server{s.redirect, s.telemetry} {
		if short != nil {
			short.Close() // its requests are all short
		}
	}
	closed := make(chan error, 1)
	go func() {
		<-stored
		s.node.close()
		s.followers.Wait()
		s.gate.Close()
		closed <- s.store.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return errors.New("the store did not close in time")
	}
}
