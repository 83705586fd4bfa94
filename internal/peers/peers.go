package peers

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
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
	Serve(subject string, f func(from adapter.Node, question []byte, reply func(answer []byte)))
	Ask(ctx context.Context, to adapter.NodeID, subject string, question []byte) (answer []byte, err error)
}

// release is the subject of questions that ask a server to answer the waiting polls of sessions, one in
// each line.
const release = "peers/release"

// Options configures Peers. All fields are needed, except where they say so.
type Options struct {
	Cluster Cluster
	Secret  string
	TLS     *tls.Config // for connections to other servers; nil: without TLS

	MaxPayload   int64         // bytes of a body that its server accepts; it refuses larger ones
	MaxForwards  int           // requests and tunnels at the same time
	WriteTimeout time.Duration // for a client to take some of what is written; negative: none
	Silence      time.Duration // of a server, after which what is passed on to it ends

	ClientAddress func(*http.Request) string
	ClientSecure  func(*http.Request) bool // whether the client uses TLS
	Sessions      func() int               // how many this server has
	Release       func(sid string)         // answers the waiting poll of a session of this server; must not block
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
	// handBack is how long Close waits until clients have their polls back, and releaseEvery how often it
	// asks for that.
	handBack     = 2 * time.Second
	releaseEvery = 50 * time.Millisecond
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

	mu      sync.Mutex
	owners  map[string]*owner       // other servers by their tags
	active  int                     // requests and tunnels
	waiting map[*http.Request]await // requests without an answer yet
	idle    chan struct{}           // closed when active is 0 and the Peers is closed
}

// await says whose answer a request waits for.
type await struct {
	server adapter.NodeID
	sid    string
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
	node  adapter.Node          // guarded by Peers.mu
	left  time.Time             // guarded by Peers.mu; zero: it is alive
	clock atomic.Pointer[clock] // nil: not known yet
}

// clock is what is known of the clock of another server.
type clock struct {
	offset time.Duration // from ours
	at     time.Duration // when it was learned, on ours
}

// New returns a Peers, which Start starts. Close it when all sessions have ended.
func New(o Options) *Peers {
	p := &Peers{opts: o, self: o.Cluster.Self(), began: time.Now(), owners: map[string]*owner{}, waiting: map[*http.Request]await{}, idle: make(chan struct{})}
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
		ResponseHeaderTimeout: o.Silence,
	}
	return p
}

// Start makes p listen to the cluster. Call it once, before anything else.
func (p *Peers) Start() {
	p.unobserve = p.opts.Cluster.Observe(p.observe)
	p.opts.Cluster.Serve(release, func(_ adapter.Node, question []byte, reply func([]byte)) {
		for sid := range strings.Lines(string(question)) {
			p.opts.Release(strings.TrimSuffix(sid, "\n"))
		}
		reply(nil)
	})
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

// wait notes that a request waits for an answer, until it has ended.
func (p *Peers) wait(r *http.Request, w await) (ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[r] = w
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiting, r)
	}
}

// giveBack lets the other servers answer waiting polls. Else a poll would have to be cut, and with it its
// session.
func (p *Peers) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handBack)
	defer cancel()
	servers := map[adapter.NodeID]bool{}
	p.mu.Lock()
	for _, w := range p.waiting {
		servers[w.server] = true
	}
	p.mu.Unlock()
	var all sync.WaitGroup
	for server := range servers { // one of them may not answer
		all.Go(func() { p.giveBackTo(ctx, server) })
	}
	all.Wait()
}

// giveBackTo asks one server, until no poll waits for it.
func (p *Peers) giveBackTo(ctx context.Context, server adapter.NodeID) {
	for {
		var sids []byte
		p.mu.Lock()
		for _, w := range p.waiting {
			if w.server == server {
				sids = append(append(sids, w.sid...), '\n')
			}
		}
		p.mu.Unlock()
		if sids == nil {
			return
		}
		if _, err := p.opts.Cluster.Ask(ctx, server, release, sids); err != nil {
			return
		}
		select {
		case <-time.After(releaseEvery):
		case <-ctx.Done():
			return
		}
	}
}

// Close lets clients have their waiting polls back, which takes up to 2 s. Then it ends everything that
// is passed on, and waits for that until ctx ends. It passes nothing on any more. The Handler goes on. A
// nil Peers has nothing to close.
func (p *Peers) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.giveBack(ctx)
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
