package adapter

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Native connects servers by Parley's own protocol. It is a Cluster and an Exchange.
// Create it with New.
//
// Its topics are:
//
//	c               what every server hears: hello, beat, bye, and calls
//	n/<node>        what is for one server: answers, and questions of its Exchange
//	x/<subject>     what servers say to each other about a subject (Exchange)
//	s/<tag>         events for a single socket, whose id ends with the tag of its server
//	a/<namespace>   everything else for a namespace's sockets
//	r/<nsp>/<room>  what is for one room; only servers with members listen
type Native struct {
	bus  Bus
	opts Options
	log  *slog.Logger
	self Node // ID, Name and Tag never change; the rest is guarded by mu

	careless struct{ noWait, noWiden, noFence bool } // for tests of the tests

	fences fences

	number     atomic.Uint64
	down       atomic.Bool
	published  atomic.Uint64
	received   atomic.Uint64
	gaps       atomic.Uint64
	unanswered atomic.Uint64
	errors     atomic.Uint64

	mu        sync.Mutex
	links     map[string]*link
	peers     map[NodeID]*peer
	silent    map[NodeID]bool // were taken for dead; if one comes back, messages may have been lost
	calls     map[uint64]*call
	subjects  map[string]*subject
	serving   map[string]func(Node, []byte, func([]byte))
	observers []*observer
	news      []newsItem // not yet told to observers
	telling   bool
	lastCall  uint64
	listening []Listening
	unwatch   func()
	dropped   uint64    // messages that the bus has refused; the others learn the number
	probed    time.Time // when the first beat without an echo was sent; zero: none
	refused   error
	double    NodeID        // has our name, too
	ready     chan struct{} // closed when Join may return
	closed    bool
	done      chan struct{}
	stopped   chan struct{}
}

// Options configure New.
type Options struct {
	// Name is unique in the cluster. The default is the host's name with a random suffix.
	Name string

	// Address is where other servers reach this one, as host:port. It is passed on to them.
	Address string

	// Beat is how often the server says that it is alive. The default is 2 s. After three times as
	// long without any word, the others take it for dead. All servers should have the same.
	Beat time.Duration

	// Linger is how long the server listens to a room after its last member has left. The default is
	// 30 s.
	Linger time.Duration

	// MaxHold is how long a message waits at most for earlier ones, on a bus that keeps only the order of
	// each topic. After it, messages that are too slow lose their place. The default is 2 s.
	MaxHold time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// New connects a server to a bus. Close also closes the bus.
func New(bus Bus, o *Options) (*Native, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Name == "" {
		host, _ := os.Hostname()
		opts.Name = fmt.Sprintf("%s-%s", cmp.Or(host, "node"), strings.ToLower(rand.Text()[:6]))
	}
	if opts.Beat < 0 || opts.Linger < 0 || opts.MaxHold < 0 {
		return nil, errors.New("adapter: Beat, Linger and MaxHold must not be negative")
	}
	opts.MaxHold = cmp.Or(opts.MaxHold, 2*time.Second)
	opts.Beat = cmp.Or(opts.Beat, 2*time.Second)
	opts.Linger = cmp.Or(opts.Linger, 30*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	n := &Native{
		bus: bus, opts: opts, log: opts.Logger,
		links: map[string]*link{}, peers: map[NodeID]*peer{}, silent: map[NodeID]bool{}, calls: map[uint64]*call{},
		subjects: map[string]*subject{}, serving: map[string]func(Node, []byte, func([]byte)){},
		ready: make(chan struct{}), done: make(chan struct{}), stopped: make(chan struct{}),
	}
	n.self = Node{Name: opts.Name, Tag: TagOf(opts.Name), Address: opts.Address}
	rand.Read(n.self.ID[:])
	n.unwatch = bus.Watch(n.state)
	n.fences.listen(n)
	for _, topic := range []string{"c", "n/" + n.self.ID.String(), "s/" + n.self.Tag} {
		n.listening = append(n.listening, bus.Listen(topic, n.receive))
	}
	go n.live()
	return n, nil
}

// TagOf returns the tag of the server with this name: four URL-safe characters.
func TagOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:3])
}

// TagIn returns the tag at the end of a socket's or session's id, or "". Such an id is 20 URL-safe
// characters, a dot and the tag. In front of it there may be a namespace, as clients of Engine.IO 3
// have it.
func TagIn(id string) string {
	if i := strings.LastIndexByte(id, '#'); i >= 0 && id[0] == '/' {
		id = id[i+1:]
	}
	if len(id) != 25 || id[20] != '.' {
		return ""
	}
	for i := range len(id) {
		c := id[i]
		if i != 20 && !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return ""
		}
	}
	return id[21:]
}

// Self implements Cluster.
func (n *Native) Self() Node {
	n.mu.Lock()
	self := n.self
	n.mu.Unlock()
	for _, l := range n.allLinks() {
		self.Sockets += l.local.Count(Selection{})
	}
	return self
}

func (n *Native) allLinks() []*link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.links))
}

// Nodes implements Cluster.
func (n *Native) Nodes() []Node {
	nodes := []Node{n.Self()}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		nodes = append(nodes, p.node)
	}
	slices.SortFunc(nodes[1:], func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}

// Drain implements Cluster.
func (n *Native) Drain() {
	n.mu.Lock()
	n.self.Draining = true
	n.mu.Unlock()
	n.announce(beat, "c")
}

// Join waits until the server is connected and the others have had the time to answer. The error is
// that another server has the same name, or ctx's.
func (n *Native) Join(ctx context.Context) error {
	select {
	case <-n.ready:
	case <-n.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("adapter: the bus does not answer: %w", ctx.Err())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refused
}

// Gaps returns how often messages may have been lost.
func (n *Native) Gaps() uint64 { return n.gaps.Load() }

// Close implements Cluster.
func (n *Native) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	close(n.done)
	for _, c := range n.calls {
		c.end()
	}
	n.mu.Unlock()
	<-n.stopped
	_ = n.publish("c", &Message{Kind: bye})
	n.unwatch()
	for _, l := range n.listening {
		l.Close()
	}
	n.fences.close()
	return n.bus.Close()
}

// Number implements Numberer.
func (n *Native) Number(m *Message) { m.Node, m.Number = n.self.ID, n.number.Add(1) }

// publish sends m to a topic.
func (n *Native) publish(topic string, m *Message) error {
	m.Node = n.self.ID
	if m.Number == 0 {
		m.Number = n.number.Add(1)
	}
	err := n.bus.Publish(topic, m.encode())
	if err != nil {
		n.mu.Lock()
		n.dropped++
		n.mu.Unlock()
		return err
	}
	n.published.Add(1)
	return nil
}

// state receives news about the bus.
func (n *Native) state(s State) {
	switch s {
	case Unsent:
		n.mu.Lock()
		n.dropped++
		n.mu.Unlock()
		return
	case Down:
		n.down.Store(true)
		n.fences.down()
		n.log.Warn("the connection to the cluster is lost")
		return
	case Up:
		n.mu.Lock()
		n.probed = time.Time{}
		n.mu.Unlock()
		n.down.Store(false)
		n.log.Info("the connection to the cluster is back")
		n.announce(hello, "c")
	}
	n.gap()
}

// gap tells all namespaces that messages may have been lost.
func (n *Native) gap() {
	n.gaps.Add(1)
	for _, l := range n.allLinks() {
		l.local.Gap()
	}
	n.mu.Lock()
	n.newsLocked(Event{Kind: Gap})
	n.mu.Unlock()
	n.tell()
}

// receive handles what arrives.
func (n *Native) receive(data []byte) {
	from, ok := sender(data)
	if ok && from == n.self.ID {
		if k := Kind(data[2]); k == hello || k == beat {
			n.echo()
		}
		return
	}
	n.received.Add(1)
	m, err := decode(data)
	if err != nil {
		if n.errors.Add(1) == 1 {
			n.log.Warn("a message from the cluster was not understood", "error", err)
		}
		return
	}
	n.fences.receive(m)
}

// handle handles a message of another server.
func (n *Native) handle(m *Message) {
	n.mu.Lock()
	p := n.peers[m.Node]
	if p != nil {
		p.heard = time.Now()
	}
	n.mu.Unlock()
	switch m.Kind {
	case hello, beat:
		n.meet(m)
	case bye:
		n.mu.Lock()
		if p := n.peers[m.Node]; p != nil {
			n.log.Info("a server of the cluster has left", "node", p.node.Name, "id", m.Node)
		}
		n.dropLocked(m.Node)
		n.mu.Unlock()
		n.tell()
	case refuse:
		n.refusedBy(m)
	case say:
		n.hear(m)
	case question:
		n.answer(m)
	case Sockets, ServerAnswer, ClientCount, ClientAnswer, Done, reply:
		n.answered(m)
	case Broadcast, Join, Leave, Disconnect, Fetch, ServerEvent, Count, RoomSizes:
		n.mu.Lock()
		l := n.links[m.Namespace]
		n.mu.Unlock()
		n.perform(l, m)
	default:
		n.errors.Add(1)
	}
}
