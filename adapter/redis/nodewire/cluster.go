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
	"github.com/parley-go/parley/adapter/internal/driver"
	"github.com/parley-go/parley/adapter/redis/internal/pubsub"
)

// Options configure Classic and Sharded.
type Options struct {
	// Key begins the names of the channels, as the options key of createAdapter and channelPrefix of
	// createShardedAdapter do on Node.js. The default is "socket.io".
	Key string

	// SpecificResponses makes Classic answer on a channel of the server that asks, as
	// publishOnSpecificResponseChannel does on Node.js: the other servers are not bothered.
	SpecificResponses bool

	// Interest says which broadcasts Classic receives. The default is Everything.
	Interest Interest

	// Mode is the subscriptionMode of Sharded. It must be the same on all servers. The default is
	// Dynamic, as on Node.js.
	Mode Mode

	// Linger is how long a server listens to a room after its last member has left, if it listens to
	// rooms. The default is 30 s.
	Linger time.Duration

	// Name is the server's name. The default is the host's name with a random suffix.
	Name string

	// MaxQueue and MaxAge bound what waits to be sent; 8 MiB and 5 s.
	MaxQueue int
	MaxAge   time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// Interest says which broadcasts a server receives on the classic wire.
type Interest string

const (
	// Everything: all broadcasts, as on Node.js.
	Everything Interest = "all"

	// Rooms: those to the rooms that have sockets on this server, and to all sockets. It saves the server
	// what does not concern it. But sockets here miss what a server on Node.js sends to a room right after
	// it made them join it with socketsJoin.
	Rooms Interest = "rooms"
)

// Mode is the subscriptionMode of createShardedAdapter: which rooms have a channel of their own.
type Mode string

const (
	Dynamic        Mode = "dynamic"         // those whose names do not have the length of a socket's id, 20
	DynamicPrivate Mode = "dynamic-private" // all rooms, those of single sockets too
	Static         Mode = "static"          // none
)

// Cluster is an adapter.Cluster on a wire of Socket.IO's adapters for Redis.
type Cluster struct {
	conn    conn
	opts    Options
	sharded bool
	self    adapter.Node
	uid     string
	down    atomic.Bool

	done   chan struct{} // closed by Close
	probes sync.WaitGroup

	mu      sync.Mutex
	links   map[string]*link
	closed  bool
	unwatch func()
}

// Classic connects a server to a Redis through which Socket.IO servers on Node.js with createAdapter of
// @socket.io/redis-adapter are connected. rueidis.ParseURL makes options from a URL. It waits until Redis
// answers.
func Classic(options rueidis.ClientOption, o *Options) (*Cluster, error) {
	return connect(options, o, false)
}

// Sharded is Classic for servers on Node.js with createShardedAdapter. It needs Redis 7 or later. The ids of
// sockets have 20 characters, because this wire tells them from rooms by their length.
func Sharded(options rueidis.ClientOption, o *Options) (*Cluster, error) {
	return connect(options, o, true)
}

func connect(options rueidis.ClientOption, o *Options, sharded bool) (*Cluster, error) {
	c := &Cluster{links: map[string]*link{}, sharded: sharded, done: make(chan struct{})}
	if o != nil {
		c.opts = *o
	}
	if err := c.opts.complete(); err != nil {
		return nil, err
	}
	c.self = adapter.Node{Name: c.opts.Name, Tag: adapter.TagOf(c.opts.Name)}
	rand.Read(c.self.ID[:])
	c.uid = hex.EncodeToString(c.self.ID[:])
	var err error
	if c.conn, err = c.opts.open(options, sharded); err != nil {
		return nil, err
	}
	c.unwatch = c.conn.Watch(c.state)
	c.probes.Go(c.probe)
	return c, nil
}

// conn is a connection to Redis: a pubsub.Conn, or a pubsub.Scattered.
type conn interface {
	Publish(channel string, data []byte) error
	Subscribe(channel string, pattern bool, deliver func(channel string, data []byte)) adapter.Listening
	Subscribers(ctx context.Context, channels ...string) (map[string]int64, error)
	Watch(f func(adapter.State)) (stop func())
	Reconnect()
	Close() error
}

func (o *Options) open(options rueidis.ClientOption, sharded bool) (conn, error) {
	p := pubsub.Options{Options: driver.Options{MaxQueue: o.MaxQueue, MaxAge: o.MaxAge, Logger: o.Logger}, Sharded: sharded}
	client, err := pubsub.Connect(options, p)
	switch {
	case err != nil:
		return nil, err
	case sharded && client.Mode() == rueidis.ClientModeCluster:
		return pubsub.NewScattered(client, p), nil
	}
	return pubsub.On(client, p), nil
}

// complete sets defaults, and refuses what does not exist.
func (o *Options) complete() error {
	o.Key = cmp.Or(o.Key, "socket.io")
	o.Interest = cmp.Or(o.Interest, Everything)
	o.Mode = cmp.Or(o.Mode, Dynamic)
	o.Linger = cmp.Or(o.Linger, 30*time.Second)
	switch {
	case o.Interest != Everything && o.Interest != Rooms:
		return fmt.Errorf("nodewire: Interest %q is neither %q nor %q", o.Interest, Everything, Rooms)
	case o.Mode != Dynamic && o.Mode != DynamicPrivate && o.Mode != Static:
		return fmt.Errorf("nodewire: Mode %q is neither %q, %q nor %q", o.Mode, Dynamic, DynamicPrivate, Static)
	case o.Linger < 0:
		return fmt.Errorf("nodewire: Linger must not be negative")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Name == "" {
		host, _ := os.Hostname()
		o.Name = fmt.Sprintf("%s-%s", cmp.Or(host, "node"), strings.ToLower(rand.Text()[:6]))
	}
	return nil
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

// Nodes implements adapter.Cluster. On these wires nobody knows the others: it returns this server only.
func (c *Cluster) Nodes() []adapter.Node { return []adapter.Node{c.Self()} }

// UntaggedSockets implements adapter.Untagger.
func (c *Cluster) UntaggedSockets() bool { return c.sharded }

// Drain implements adapter.Cluster. The wires have no word for it.
func (c *Cluster) Drain() {}

// Close implements adapter.Cluster.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
	}
	c.mu.Unlock()
	c.probes.Wait()
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

// Open implements adapter.Cluster.
func (c *Cluster) Open(namespace string, local adapter.Local) adapter.Link {
	l := &link{cluster: c, namespace: namespace, local: local, calls: map[string]*call{}, closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	c.mu.Lock()
	c.links[namespace] = l
	c.mu.Unlock()
	if c.sharded {
		listenSharded(l)
	} else {
		listenClassic(l)
	}
	return l
}
