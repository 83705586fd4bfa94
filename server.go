package parley

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// Server is a Socket.IO server and an http.Handler. Its methods On, Emit, To and so on are
// those of the main namespace, "/". It is safe for concurrent use.
type Server struct {
	*Namespace // "/"

	opts    Options
	limits  *sio.Limits
	log     *slog.Logger
	engine  *engine.Server
	work    tally // inboxes that are being worked on, and sockets that are connecting
	workers workers
	stats   counters
	// listened is set when somebody wants to know of all outgoing events, which costs.
	listened atomic.Bool

	mu         sync.RWMutex
	namespaces map[string]*Namespace
	parents    []*ParentNamespace
	children   int
	created    []func(*Namespace)
	httpServer *http.Server // of Serve
	closed     bool
}

// New returns a server with the given options; nil stands for the defaults. The error is
// about the options.
func New(o *Options) (*Server, error) {
	if o == nil {
		o = &Options{}
	}
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, limits: opts.limits(), log: opts.Logger, namespaces: map[string]*Namespace{}}
	eo := opts.engine()
	eo.Open = func(session *engine.Session) engine.Handler { return newConnection(s, session) }
	if s.engine, err = engine.NewServer(eo); err != nil {
		return nil, err
	}
	s.Namespace = s.Of("/")
	return s, nil
}

// ServeHTTP serves clients below Options.Path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.serves(r) {
		s.engine.LimitBody(w, r)
		http.NotFound(w, r)
		return
	}
	s.engine.ServeHTTP(w, r)
}

// Of returns the namespace of that name, which is made if it does not exist. A leading
// slash may be left out.
func (s *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[name]
	if n == nil {
		n = newNamespace(s, name, &Handlers{srv: s})
		s.namespaces[name] = n
	}
	n.pinned = true
	return n
}

// OnNewNamespace has f called for each namespace that is made for a client by OfPattern or
// OfFunc, before the client joins it.
func (s *Server) OnNewNamespace(f func(*Namespace)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created = with(s.created, f)
}

// ParentNamespace stands for all namespaces that clients may join by its rule. Handlers
// registered on it are those of each of them. Such a namespace exists while it has sockets,
// or for good once it was asked for with Server.Of.
type ParentNamespace struct {
	*Handlers
	srv   *Server
	match func(ctx context.Context, name string, auth json.RawMessage) bool
}

// OfPattern lets clients join each namespace whose whole name, slash included, matches the
// pattern.
func (s *Server) OfPattern(pattern *regexp.Regexp) *ParentNamespace {
	whole := regexp.MustCompile(`^(?:` + pattern.String() + `)$`)
	return s.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return whole.MatchString(name) })
}

// OfFunc lets clients join each namespace that match accepts. auth is what the client sent
// to authenticate with, a JSON object, or nil. match may block; ctx ends when the client
// hangs up.
func (s *Server) OfFunc(match func(ctx context.Context, name string, auth json.RawMessage) bool) *ParentNamespace {
	p := &ParentNamespace{Handlers: &Handlers{srv: s}, srv: s, match: match}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parents = with(s.parents, p)
	return p
}

// Emit sends an event to all sockets of all namespaces of p.
func (p *ParentNamespace) Emit(event string, args ...any) error {
	p.srv.mu.RLock()
	var all []*Namespace
	for _, n := range p.srv.namespaces {
		if n.Handlers == p.Handlers {
			all = append(all, n)
		}
	}
	p.srv.mu.RUnlock()
	for _, n := range all {
		if err := n.Emit(event, args...); err != nil {
			return err
		}
	}
	return nil
}

// existing returns the namespace if there is no need to ask a parent, and has it stay
// for the socket that is about to join. release undoes that.
func (s *Server) existing(name string) *Namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[name]
	if n != nil {
		n.refs++
	}
	return n
}

// resolve is existing, but makes the namespace if a parent wants it. It may block.
func (s *Server) resolve(ctx context.Context, name string, auth json.RawMessage) (*Namespace, error) {
	if n := s.existing(name); n != nil {
		return n, nil
	}
	s.mu.RLock()
	parents := s.parents
	s.mu.RUnlock()
	for _, p := range parents {
		matches := false
		if err := guard(func() error { matches = p.match(ctx, name, auth); return nil }); err != nil {
			return nil, err
		}
		if !matches {
			continue
		}
		s.mu.Lock()
		n, made := s.namespaces[name], false
		if n == nil {
			if s.opts.MaxChildren > 0 && s.children >= s.opts.MaxChildren {
				s.mu.Unlock()
				return nil, nil
			}
			n, made = newNamespace(s, name, p.Handlers), true
			n.child = true
			s.namespaces[name] = n
			s.children++
		}
		n.refs++
		created := s.created
		s.mu.Unlock()
		if made {
			for _, f := range created {
				if err := guard(func() error { f(n); return nil }); err != nil {
					s.log.Error("parley: OnNewNamespace failed", "namespace", name, "error", err)
				}
			}
		}
		return n, nil
	}
	return nil, nil
}

// release says that one socket less is in n. A namespace that was made for clients and
// has none any more goes.
func (s *Server) release(n *Namespace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.refs--
	if n.refs == 0 && n.child && !n.pinned && s.namespaces[n.name] == n {
		delete(s.namespaces, n.name)
		s.children--
	}
}

// Shutdown ends the server gracefully: it stops accepting clients, disconnects all with
// the reason ServerShutdown once what is queued for them has been sent, and waits for the
// handlers that are running. If ctx ends first, it cuts what is left and returns ctx's
// error. Clients come back by themselves, to whichever server answers then. A client with long
// polling that does not come for what is queued is waited for 5 s. A handler must not call it:
// it would wait for itself.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	hs := s.httpServer
	all := make([]*Namespace, 0, len(s.namespaces))
	for _, n := range s.namespaces {
		all = append(all, n)
	}
	s.mu.Unlock()

	s.engine.Drain()
	for _, n := range all {
		for _, socket := range n.index.Select(nil, nil, nil) {
			socket.close(ServerShutdown)
		}
	}
	err := s.engine.Shutdown(ctx)
	if hs != nil {
		if herr := hs.Shutdown(ctx); err == nil {
			err = herr
		}
	}
	if werr := s.work.wait(ctx); err == nil {
		err = werr
	}
	s.workers.close()
	return err
}

// Close ends the server at once: see Shutdown.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tally counts what is running, so that it can be waited for.
type tally struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // made by wait, closed at zero
}

func (t *tally) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += n
	if t.n == 0 && t.zero != nil {
		close(t.zero)
		t.zero = nil
	}
}

func (t *tally) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.zero == nil {
		t.zero = make(chan struct{})
	}
	zero := t.zero
	t.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
