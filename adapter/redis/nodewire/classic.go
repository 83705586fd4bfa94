package nodewire

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis/internal/pubsub"
)

// Options configure Classic.
type Options struct {
	// Key begins the names of the channels, as the option of the same name does on Node.js. The default
	// is "socket.io".
	Key string

	// SpecificResponses answers on a channel of the server that asks, as
	// publishOnSpecificResponseChannel does on Node.js: the other servers are not bothered.
	SpecificResponses bool

	// Name is the server's name. The default is the host's name with a random suffix.
	Name string

	// MaxQueue and MaxAge bound what waits to be sent; 8 MiB and 5 s.
	MaxQueue int
	MaxAge   time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// Cluster is an adapter.Cluster on the wire of Socket.IO's classic adapter.
type Cluster struct {
	conn *pubsub.Conn
	opts Options
	self adapter.Node
	uid  string
	down atomic.Bool

	mu      sync.Mutex
	links   map[string]*link
	closed  bool
	unwatch func()
}

// Classic connects a server to a Redis through which Socket.IO servers on Node.js with createAdapter of
// @socket.io/redis-adapter are connected. rueidis.ParseURL makes options from a URL. It waits until Redis
// answers.
func Classic(options rueidis.ClientOption, o *Options) (*Cluster, error) {
	c := &Cluster{links: map[string]*link{}}
	if o != nil {
		c.opts = *o
	}
	c.opts.Key = cmp.Or(c.opts.Key, "socket.io")
	if c.opts.Logger == nil {
		c.opts.Logger = slog.Default()
	}
	if c.opts.Name == "" {
		host, _ := os.Hostname()
		c.opts.Name = fmt.Sprintf("%s-%s", cmp.Or(host, "node"), strings.ToLower(rand.Text()[:6]))
	}
	c.self = adapter.Node{Name: c.opts.Name, Tag: adapter.TagOf(c.opts.Name)}
	rand.Read(c.self.ID[:])
	c.uid = hex.EncodeToString(c.self.ID[:])
	conn, err := pubsub.New(options, pubsub.Options{MaxQueue: c.opts.MaxQueue, MaxAge: c.opts.MaxAge, Logger: c.opts.Logger})
	if err != nil {
		return nil, err
	}
	c.conn = conn
	c.unwatch = conn.Watch(c.state)
	return c, nil
}

// Self implements adapter.Cluster.
func (c *Cluster) Self() adapter.Node {
	self := c.self
	for _, l := range c.all() {
		self.Sockets += l.local.Count(adapter.Selection{})
	}
	return self
}

func (c *Cluster) all() (links []*link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		links = append(links, l)
	}
	return links
}

// Nodes implements adapter.Cluster. On this wire nobody knows the others: it returns this server only.
func (c *Cluster) Nodes() []adapter.Node { return []adapter.Node{c.Self()} }

// Drain implements adapter.Cluster. The wire has no word for it.
func (c *Cluster) Drain() {}

// Close implements adapter.Cluster.
func (c *Cluster) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, l := range c.all() {
		l.Close()
	}
	c.unwatch()
	return c.conn.Close()
}

// state receives news about the connection.
func (c *Cluster) state(s adapter.State) {
	switch s {
	case adapter.Down:
		c.down.Store(true)
		c.opts.Logger.Warn("the connection to the cluster is lost")
	case adapter.Up:
		c.down.Store(false)
		c.opts.Logger.Info("the connection to the cluster is back")
		fallthrough
	case adapter.Lost:
		for _, l := range c.all() {
			l.local.Gap()
		}
	}
}

// link is a namespace's adapter.Link.
type link struct {
	cluster   *Cluster
	namespace string
	local     adapter.Local
	broadcast string // channels
	request   string
	response  string
	echo      []byte // begins our own broadcasts

	subscriptions []*pubsub.Subscription

	mu    sync.Mutex
	calls map[string]*call
}

// Open implements adapter.Cluster.
func (c *Cluster) Open(namespace string, local adapter.Local) adapter.Link {
	l := &link{
		cluster: c, namespace: namespace, local: local, calls: map[string]*call{},
		broadcast: c.opts.Key + "#" + namespace + "#",
		request:   c.opts.Key + "-request#" + namespace + "#",
		response:  c.opts.Key + "-response#" + namespace + "#",
		echo:      appendEcho(nil, c.uid),
	}
	c.mu.Lock()
	c.links[namespace] = l
	c.mu.Unlock()
	l.subscriptions = []*pubsub.Subscription{
		c.conn.Subscribe(escape(l.broadcast)+"*", true, l.hear),
		c.conn.Subscribe(l.request, false, func(_ string, data []byte) { l.requested(data) }),
		c.conn.Subscribe(l.response, false, func(_ string, data []byte) { l.answered(data) }),
		c.conn.Subscribe(l.response+c.uid+"#", false, func(_ string, data []byte) { l.answered(data) }),
	}
	return l
}

// escape returns a pattern that matches just the name.
func escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(name)
}

// Ready implements adapter.Link.
func (l *link) Ready() <-chan struct{} {
	for _, s := range l.subscriptions {
		select {
		case <-s.Active():
		default:
			if l.cluster.down.Load() {
				return nil
			}
			return s.Active()
		}
	}
	return nil
}

// Touch implements adapter.Link. A server hears all rooms.
func (l *link) Touch(string) <-chan struct{} { return nil }

// Close implements adapter.Link.
func (l *link) Close() {
	c := l.cluster
	c.mu.Lock()
	if c.links[l.namespace] == l {
		delete(c.links, l.namespace)
	}
	c.mu.Unlock()
	for _, s := range l.subscriptions {
		s.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.calls {
		w.end(adapter.ErrClosed)
	}
}

// Publish implements adapter.Link.
func (l *link) Publish(m *adapter.Message) error {
	m.Node, m.Namespace = l.cluster.self.ID, l.namespace
	if m.Kind == adapter.Broadcast {
		data, err := l.encodeBroadcast(m)
		if err != nil {
			return err
		}
		channel := l.broadcast
		if len(m.Rooms) == 1 {
			channel += m.Rooms[0] + "#"
		}
		return l.cluster.conn.Publish(channel, data)
	}
	data, err := l.encodeRequest(m, "")
	if err != nil {
		return err
	}
	return l.cluster.conn.Publish(l.request, data)
}

// maxAckTime is how long clients may take to acknowledge an event of another server, which does not say how
// long it waits.
const maxAckTime = 5 * time.Minute

// recount is how often a call looks whether the servers that it waits for are still there.
const recount = 500 * time.Millisecond

// Call implements adapter.Link.
func (l *link) Call(ctx context.Context, m *adapter.Message, each func(*adapter.Answer)) error {
	switch m.Kind {
	case adapter.Join, adapter.Leave, adapter.Disconnect:
		return l.Publish(m) // nobody confirms
	}
	c := l.cluster
	m.Node, m.Namespace = c.self.ID, l.namespace
	for _, s := range l.subscriptions { // or this server would not be counted, and answers would be lost
		select {
		case <-s.Active():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	others, err := c.others(ctx, l.request)
	if err != nil || others <= 0 {
		return err
	}
	id := requestID()
	data, err := l.encodeRequest(m, id)
	if err != nil {
		return err
	}
	w := &call{kind: m.Kind, expected: others, news: make(chan struct{}, 1)}
	l.mu.Lock()
	l.calls[id] = w
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, id)
	}()
	if err := c.conn.Publish(l.request, data); err != nil {
		return err
	}
	again := time.NewTicker(recount)
	defer again.Stop()
	for {
		answers, finished, err := w.take()
		for _, a := range answers {
			each(a)
		}
		if finished || err != nil {
			return err
		}
		select {
		case <-w.news:
		case <-again.C:
			if n, err := c.others(ctx, l.request); err == nil {
				w.expect(n)
			}
		case <-ctx.Done():
			answers, finished, err := w.take()
			for _, a := range answers {
				each(a)
			}
			if finished || err != nil {
				return err
			}
			return &adapter.Partial{Missing: w.missing(), Cause: ctx.Err()}
		}
	}
}

// others returns how many other servers listen to requests.
func (c *Cluster) others(ctx context.Context, channel string) (int, error) {
	n, err := c.conn.Subscribers(ctx, channel)
	if err != nil {
		return 0, fmt.Errorf("nodewire: count the servers: %w", err)
	}
	return n - 1, nil
}

func requestID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// call waits for answers, which do not say who gave them.
type call struct {
	kind adapter.Kind

	mu       sync.Mutex
	expected int // servers
	said     int // servers that have answered; of a Broadcast, with a count
	fewer    int // servers that have gone before they answered
	acks     int // that are owed; may be negative until they are counted
	answers  []*adapter.Answer
	err      error
	news     chan struct{} // holds one element if there is something new
}

// add records an answer. counts says that it stands for a server; acks changes how many are owed.
func (w *call) add(a *adapter.Answer, counts bool, acks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if counts {
		w.said++
	}
	w.acks += acks
	if a != nil {
		w.answers = append(w.answers, a)
	}
	w.tell()
}

func (w *call) tell() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// expect adjusts the call to the number of servers that are still there.
func (w *call) expect(others int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if others < w.expected {
		w.fewer += w.expected - others
		w.expected = others
		w.tell()
	}
}

func (w *call) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.tell()
}

func (w *call) take() (answers []*adapter.Answer, finished bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answers, w.answers = w.answers, nil
	finished = w.said >= w.expected && w.acks <= 0
	if finished && w.said < w.expected+w.fewer {
		err = &adapter.Partial{Missing: unnamed(w.expected + w.fewer - w.said)}
	}
	if w.err != nil {
		err = w.err
	}
	return answers, finished, err
}

// missing describes the servers that have not answered.
func (w *call) missing() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return unnamed(max(1, w.expected+w.fewer-w.said))
}

// unnamed stands for servers whose names nobody knows.
func unnamed(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "a server without a name"
	}
	return names
}
