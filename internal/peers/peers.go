package peers

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/notice"
)

// Cluster is what Peers needs of an adapter.Exchange.
type Cluster interface {
	Self() adapter.Node
	Observe(func(adapter.Event)) (stop func())
}

// Options configures Peers. All fields are needed, except where they say so.
type Options struct {
	Cluster Cluster
	Secret  string
	TLS     *tls.Config // for connections to other servers; nil: without TLS

	MaxPayload   int64         // bytes of a body that its server accepts; it refuses larger ones
	MaxForwards  int           // requests and tunnels at the same time
	WriteTimeout time.Duration // for a client to take some of what is written; negative: none
	Silence      time.Duration // after which a tunnel ends

	ClientAddress func(*http.Request) string
	ClientSecure  func(*http.Request) bool // whether the client uses TLS
	Sessions      func() int               // how many this server has
	Notices       *notice.Board
}

const (
	// dialTimeout limits the time to connect to another server, and to open a tunnel then.
	dialTimeout = 5 * time.Second
	// remembered is how long a server that has left is still tried: perhaps only the bus is down.
	remembered = 2 * time.Minute
	// A connection to another server that is not used stays open for idleTimeout. That is less than
	// http.Servers usually have, because a request may be lost on a connection that is being closed.
	idleTimeout = 30 * time.Second
	maxIdle     = 256 // such connections to one server
)

// Peers passes requests on to other servers, and accepts theirs. It is safe for concurrent use.
type Peers struct {
	opts      Options
	self      adapter.Node
	began     time.Time
	lastNonce atomic.Uint64
	seen      nonces
	dialer    net.Dialer
	transport *http.Transport
	stats     Stats
	unobserve func()
	closing   context.Context
	close     context.CancelFunc

	mu     sync.Mutex
	owners map[string]*owner // other servers by their tags
	active int               // requests and tunnels
	idle   chan struct{}     // closed when there are none and the Peers is closed
}

// Stats has live counters.
type Stats struct {
	Forwarded atomic.Uint64 // requests, and tunnels, that another server has answered
	Failed    atomic.Uint64 // those that could not be passed on
	Tunnels   atomic.Int64  // WebSockets that pass through this server now
	Accepted  atomic.Uint64 // requests of other servers
	Rejected  atomic.Uint64 // requests to the internal address that do not come from the cluster
}

// owner is another server, which has sessions.
type owner struct {
	node   adapter.Node                  // guarded by Peers.mu
	left   time.Time                     // guarded by Peers.mu; zero: it is alive
	offset atomic.Pointer[time.Duration] // of its clock from ours; nil: not known yet
}

// New returns a Peers. Close it when all sessions have ended.
func New(o Options) *Peers {
	p := &Peers{opts: o, self: o.Cluster.Self(), began: time.Now(), owners: map[string]*owner{}, idle: make(chan struct{})}
	p.lastNonce.Store(randomNonce())
	p.closing, p.close = context.WithCancel(context.Background())
	// A server that vanishes is noticed before its clients give it up, after 45 s.
	p.dialer = net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	p.transport = &http.Transport{
		DialContext:           p.dial,
		DisableCompression:    true, // answers pass through as they are
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: dialTimeout, // see outgoing
	}
	p.unobserve = o.Cluster.Observe(p.observe)
	return p
}

// Stats returns the live counters.
func (p *Peers) Stats() *Stats { return &p.stats }

// observe receives news about the cluster.
func (p *Peers) observe(e adapter.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.owners[e.Node.Tag]
	switch {
	case e.Kind == adapter.Joined || e.Kind == adapter.Changed:
		if o == nil || o.node.ID != e.Node.ID {
			o = &owner{}
			p.owners[e.Node.Tag] = o
		}
		o.node, o.left = e.Node, time.Time{}
	case e.Kind == adapter.Left && o != nil && o.node.ID == e.Node.ID:
		o.left = time.Now()
	}
	for tag, o := range p.owners {
		if !o.left.IsZero() && time.Since(o.left) > remembered {
			delete(p.owners, tag)
		}
	}
}

// owner returns the server with the tag, or nil, and its description.
func (p *Peers) owner(tag string) (*owner, adapter.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.owners[tag]
	if o == nil || !o.left.IsZero() && time.Since(o.left) > remembered {
		return nil, adapter.Node{}
	}
	return o, o.node
}

// begin counts a request or a tunnel, unless there are too many.
func (p *Peers) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active >= p.opts.MaxForwards || p.closing.Err() != nil {
		return false
	}
	p.active++
	return true
}

// end counts the end of what has begun.
func (p *Peers) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.checkIdleLocked()
}

func (p *Peers) checkIdleLocked() {
	if p.active == 0 && p.closing.Err() != nil {
		select {
		case <-p.idle:
		default:
			close(p.idle)
		}
	}
}

// Close ends everything that is passed on, and waits for that until ctx ends. It passes nothing on any
// more. The Handler goes on. A nil Peers has nothing to close.
func (p *Peers) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.unobserve()
	p.mu.Lock()
	p.close()
	p.checkIdleLocked()
	p.mu.Unlock()
	defer p.transport.CloseIdleConnections()
	select {
	case <-p.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dial connects to another server.
func (p *Peers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := p.dialer.DialContext(ctx, network, address)
	if err != nil || p.opts.TLS == nil {
		return conn, err
	}
	config := p.opts.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}
