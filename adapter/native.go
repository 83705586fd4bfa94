package adapter

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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

// Native connects servers by Parley's own protocol. It is a Cluster. Create it with New.
//
// Its topics are:
//
//	c               what every server hears: hello, beat, bye, and calls
//	n/<node>        answers to a server
//	s/<tag>         events for a single socket, whose id ends with the tag of its server
//	a/<namespace>   everything else for a namespace's sockets
//	r/<nsp>/<room>  what is for one room; only servers with members listen
type Native struct {
	bus  Bus
	opts Options
	log  *slog.Logger
	self Node // ID, Name and Tag never change; the rest is guarded by mu

	careless struct{ noWait, noWiden bool } // for tests of the tests

	number atomic.Uint64
	down   atomic.Bool
	gaps   atomic.Uint64
	errors atomic.Uint64

	mu        sync.Mutex
	links     map[string]*link
	peers     map[NodeID]*peer
	silent    map[NodeID]bool // were taken for dead; if one comes back, messages may have been lost
	calls     map[uint64]*call
	lastCall  uint64
	listening []Listening
	unwatch   func()
	dropped   uint64    // messages that the bus has refused; the others learn the number
	probed    time.Time // when the first beat without an echo was sent; zero: none
	refused   error
	ready     chan struct{} // closed when Join may return
	closed    bool
	done      chan struct{}
	stopped   chan struct{}
}

// peer is another server.
type peer struct {
	node    Node
	heard   time.Time
	dropped uint64
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

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

const (
	hello  = firstInternal + iota // asks all for a beat
	beat                          // says that a server is alive, and describes it
	bye                           // says that a server leaves
	refuse                        // refuses a server whose name or tag is taken
)

// report is what hello and beat carry.
type report struct {
	Node
	Dropped uint64 `json:"dropped,omitempty"`
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
	if opts.Beat < 0 || opts.Linger < 0 {
		return nil, errors.New("adapter: Beat and Linger must not be negative")
	}
	opts.Beat = cmp.Or(opts.Beat, 2*time.Second)
	opts.Linger = cmp.Or(opts.Linger, 30*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	n := &Native{
		bus: bus, opts: opts, log: opts.Logger,
		links: map[string]*link{}, peers: map[NodeID]*peer{}, silent: map[NodeID]bool{}, calls: map[uint64]*call{},
		ready: make(chan struct{}), done: make(chan struct{}), stopped: make(chan struct{}),
	}
	n.self = Node{Name: opts.Name, Tag: TagOf(opts.Name), Address: opts.Address}
	rand.Read(n.self.ID[:])
	n.unwatch = bus.Watch(n.state)
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
	return n.bus.Close()
}

// publish sends m to a topic.
func (n *Native) publish(topic string, m *Message) error {
	m.Node = n.self.ID
	if m.Number == 0 {
		m.Number = n.number.Add(1)
	}
	err := n.bus.Publish(topic, m.encode())
	if err != nil {
		n.errors.Add(1)
		n.mu.Lock()
		n.dropped++
		n.mu.Unlock()
	}
	return err
}

// announce publishes hello or beat to a topic.
func (n *Native) announce(k Kind, topic string) {
	r := report{Node: n.Self()}
	n.mu.Lock()
	r.Dropped = n.dropped
	if topic == "c" && n.probed.IsZero() {
		n.probed = time.Now()
	}
	n.mu.Unlock()
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	_ = n.publish(topic, &Message{Kind: k, Data: data})
}

// live says that the server is alive, and notices who is not.
func (n *Native) live() {
	defer close(n.stopped)
	for _, l := range n.listening { // whoever knows this server may answer it
		select {
		case <-l.Active():
		case <-n.done:
			return
		}
	}
	n.announce(hello, "c")
	tick := time.NewTicker(n.opts.Beat / 2)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-n.done:
			return
		case <-tick.C:
		}
		if i%2 == 0 && !n.isRefused() {
			n.announce(beat, "c")
		}
		n.check()
	}
}

// maxSilent bounds how many servers are remembered that were taken for dead.
const maxSilent = 1000

// check finds the servers that have died, and whether the bus has become deaf.
func (n *Native) check() {
	now := time.Now()
	n.mu.Lock()
	for id, p := range n.peers {
		if now.Sub(p.heard) > 3*n.opts.Beat {
			n.log.Warn("a server of the cluster is silent", "node", p.node.Name, "for", now.Sub(p.heard).Round(time.Second))
			n.dropLocked(id)
			if len(n.silent) >= maxSilent {
				clear(n.silent)
			}
			n.silent[id] = true
		}
	}
	deaf := !n.probed.IsZero() && now.Sub(n.probed) > 2*n.opts.Beat && !n.down.Load()
	if deaf {
		n.probed = time.Time{}
	}
	n.mu.Unlock()
	for _, l := range n.allLinks() {
		l.interest.expire(now)
	}
	if !deaf {
		return
	}
	n.log.Warn("the bus no longer delivers; connecting again")
	if b, ok := n.bus.(Reconnecter); ok {
		b.Reconnect()
	}
}

// dropLocked forgets a server.
func (n *Native) dropLocked(id NodeID) {
	delete(n.peers, id)
	for _, c := range n.calls {
		c.lose(id)
	}
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
	m, err := decode(data)
	if err != nil {
		if n.errors.Add(1) == 1 {
			n.log.Warn("a message from the cluster was not understood", "error", err)
		}
		return
	}
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
		n.dropLocked(m.Node)
		n.mu.Unlock()
	case refuse:
		n.refusedBy(m)
	case Sockets, ServerAnswer, ClientCount, ClientAnswer, Done:
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

// echo notes that our own beat has come back.
func (n *Native) echo() {
	n.mu.Lock()
	n.probed = time.Time{}
	first := !isClosed(n.ready)
	n.mu.Unlock()
	if first {
		// The others heard the hello before we did, or do so now: their answers are on the way.
		time.AfterFunc(settle, n.settled)
	}
}

// settle is how long a new server waits for the answers to its hello.
const settle = 100 * time.Millisecond

func (n *Native) settled() {
	n.mu.Lock()
	first := !isClosed(n.ready) && !n.closed
	if first {
		close(n.ready)
	}
	n.mu.Unlock()
	if first { // now it has its name
		n.announce(beat, "c")
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// meet handles a hello or beat.
func (n *Native) meet(m *Message) {
	var r report
	if json.Unmarshal(m.Data, &r) != nil {
		n.errors.Add(1)
		return
	}
	r.ID = m.Node
	if r.Name == n.self.Name || r.Tag == n.self.Tag {
		if m.Kind == hello && !n.isRefused() {
			_ = n.publish("n/"+m.Node.String(), &Message{Kind: refuse, Data: []byte(n.self.Name)})
		}
		return
	}
	n.mu.Lock()
	p, known := n.peers[m.Node]
	if !known {
		for id, other := range n.peers {
			if other.node.Name != r.Name {
				continue
			}
			if m.Kind == hello { // that one may refuse it; if not, a beat follows
				n.mu.Unlock()
				n.announce(beat, "n/"+m.Node.String())
				return
			}
			n.dropLocked(id) // it has restarted
		}
		p = &peer{heard: time.Now()}
		n.peers[m.Node] = p
	}
	lost := n.silent[m.Node] || known && r.Dropped != p.dropped
	delete(n.silent, m.Node)
	p.node, p.dropped = r.Node, r.Dropped
	n.mu.Unlock()
	if !known {
		n.log.Info("a server of the cluster is there", "node", r.Name, "id", m.Node)
	}
	if lost {
		n.gap()
	}
	if m.Kind == hello {
		n.announce(beat, "n/"+m.Node.String())
	}
}

// isRefused reports whether this server is not one of the cluster.
func (n *Native) isRefused() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refused != nil
}

// refusedBy handles the refusal of another server.
func (n *Native) refusedBy(m *Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if isClosed(n.ready) {
		return // it came after us
	}
	n.refused = fmt.Errorf("adapter: the name %q is taken by another server of the cluster: give each its own", n.self.Name)
	if taker := string(m.Data); taker != n.self.Name {
		n.refused = fmt.Errorf("adapter: the names %q and %q have the same tag %s: choose another one", n.self.Name, taker, n.self.Tag)
	}
	close(n.ready)
}
