package parley

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/notice"
	"github.com/parley-go/parley/internal/peers"
	"github.com/parley-go/parley/internal/sio"
)

// Server is a Socket.IO server and an http.Handler. Clients join its main namespace, "/", and
// others that you create with Of, OfPattern and OfFunc. Methods that Namespace has too, such as On,
// Emit and To, apply only to the main namespace. Create a Server with New. It is safe for
// concurrent use.
type Server struct {
	main *Namespace // "/"

	opts    Options
	limits  *sio.Limits
	log     *slog.Logger
	notices *notice.Board // for log entries that could otherwise be too frequent
	engine  *engine.Server
	work    tally        // inboxes being worked on, and sockets that are connecting
	peers   *peers.Peers // nil without Options.ClusterSecret
	workers workers
	stats   counters
	proofs  proofs
	// listened is set when someone wants to see all outgoing events. That has a cost.
	listened atomic.Bool
	seed     maphash.Seed
	idSuffix string // of sockets, see Options.socketSuffix
	moves    *moves // nil if sessions cannot move to other servers

	mu         sync.RWMutex
	namespaces map[string]*Namespace
	parents    []*ParentNamespace
	children   int
	rules      bool // one of parents is a function
	created    []func(*Namespace)
	expiring   []func(*Socket, time.Time)
	httpServer *http.Server // created by Serve
	peerServer *http.Server // created by ServePeers
	closed     bool
}

// New returns a server with the given options; nil means the defaults. It returns an error if the
// options are invalid.
func New(o *Options) (*Server, error) {
	if o == nil {
		o = &Options{}
	}
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, limits: opts.limits(), log: opts.Logger, namespaces: map[string]*Namespace{}, seed: maphash.MakeSeed()}
	s.notices = notice.New(s.log)
	s.idSuffix = opts.socketSuffix()
	s.moves = newMoves(s)
	s.proofs.grace = opts.IdentityGrace
	eo := opts.engine()
	eo.Open = func(session *engine.Session) engine.Handler { return newConnection(s, session) }
	if err := s.forward(&opts, &eo); err != nil {
		return nil, err
	}
	if s.engine, err = engine.NewServer(eo); err != nil {
		return nil, fmt.Errorf("parley: %w", err)
	}
	if s.peers != nil {
		s.peers.Start()
	}
	s.main = s.Of("/")
	return s, nil
}

// made returns s. It panics if s does not come from New.
func (s *Server) made() *Server {
	if s == nil || s.engine == nil {
		panic("parley: this Server does not come from New, or New returned an error")
	}
	return s
}

// Of returns the namespace with this name and creates it if necessary. You may omit the leading
// slash. If the name matches a pattern of OfPattern, the namespace belongs to that pattern's
// ParentNamespace.
func (s *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	s.made().mu.Lock()
	n := s.namespaces[name]
	made := n == nil
	if made {
		n = newNamespace(s, name)
		s.namespaces[name] = n
		i := slices.IndexFunc(s.parents, func(p *ParentNamespace) bool { return p.pattern != nil && p.pattern.MatchString(name) })
		if i < 0 {
			made = false
		} else {
			n.belongLocked(s.parents[i])
		}
	} else if !n.pinned && n.parent.Load() != nil {
		s.children--
	}
	n.pinned = true
	s.mu.Unlock()
	if made {
		s.announce(n)
	}
	return n
}

// Shutdown ends the server gracefully. It stops accepting clients. It sends each client what is
// queued, then disconnects it with the reason ServerShutdown. It waits for running handlers. It
// waits up to 5 s for polling clients that do not fetch what is queued. If ctx ends first, Shutdown
// closes the remaining connections and returns ctx's error. Clients reconnect automatically to
// whichever server answers then. In a cluster, another server gets the sessions that can be recovered.
// Do not call Shutdown from a handler: it would wait for itself.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	hs, ps := s.httpServer, s.peerServer
	all := make([]*Namespace, 0, len(s.namespaces))
	for _, n := range s.namespaces {
		all = append(all, n)
	}
	s.mu.Unlock()

	if c := s.opts.Cluster; c != nil {
		c.Drain()
	}
	s.engine.Drain()
	for _, n := range all {
		for _, socket := range n.local.index.All(nil, nil) {
			socket.release()
			socket.close(ServerShutdown)
		}
	}
	err := s.engine.Shutdown(ctx)
	note := func(other error) {
		if err == nil {
			err = other
		}
	}
	// No client may come to this server any more while requests of other servers' sessions end.
	ended := make(chan error, 1)
	go func() { ended <- shutdown(ctx, hs) }()
	note(s.peers.Close(ctx))
	note(<-ended)
	note(shutdown(ctx, ps))
	note(s.work.wait(ctx))
	s.workers.close()
	if c := s.opts.Cluster; c != nil {
		s.moves.bequeath(ctx)
		note(c.Close())
	}
	return err
}

// shutdown shuts an http.Server down, unless it is nil.
func shutdown(ctx context.Context, hs *http.Server) error {
	if hs == nil {
		return nil
	}
	return hs.Shutdown(ctx)
}

// Close ends the server at once; see Shutdown.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tally counts running tasks, so that wait can wait for them.
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
