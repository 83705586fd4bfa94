package pubsub

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	pingTime    = 2 * time.Second       // a connection is lost if two pings are not answered
	confirmTime = 50 * time.Millisecond // between questions whether what was written has arrived
)

// conn is one connection, until it is lost.
type conn struct {
	bus  *Bus
	nats *nats.Conn
	raw  *gate
	lost chan struct{} // closed when it is lost
	gone chan struct{} // closed when it is not used any more

	arrived chan *nats.Msg
	held    map[string]*held // by subject; owned by hear
	mesh    mesh

	written, confirmed atomic.Uint64
	wrote              chan struct{} // holds one element if written has grown
}

// held is a subject that is subscribed.
type held struct {
	sub    *nats.Subscription
	topics int // usually one
}

// connect returns a new connection.
func (b *Bus) connect(urls string) (*conn, error) {
	c := &conn{
		bus: b, lost: make(chan struct{}), gone: make(chan struct{}), arrived: make(chan *nats.Msg, maxArrived),
		held: map[string]*held{}, mesh: newMesh(), wrote: make(chan struct{}, 1),
	}
	options := slices.Concat([]nats.Option{
		nats.Name("parley"), nats.Timeout(b.patience()), nats.FlusherTimeout(b.patience()),
		nats.PingInterval(pingTime), nats.MaxPingsOutstanding(2),
	}, b.opts.Connect, []nats.Option{
		nats.NoReconnect(), nats.ErrorHandler(c.complain),
		nats.ClosedHandler(func(*nats.Conn) { close(c.lost) }),
		c.gated,
	})
	var err error
	if c.nats, err = nats.Connect(urls, options...); err != nil {
		return nil, err
	}
	b.most.Store(c.nats.MaxPayload())
	return c, nil
}

// patience is how long to wait for what NATS answers at once.
func (b *Bus) patience() time.Duration { return min(b.core.MaxAge, 5*time.Second) }

// gated is an option that puts a gate in front of the connection.
func (c *conn) gated(o *nats.Options) error {
	b := c.bus
	wrap := func(n net.Conn) net.Conn {
		g := &gate{Conn: n, waiting: func() int { return len(c.arrived) }, empty: make(chan struct{}, 1), closed: make(chan struct{})}
		b.mu.Lock()
		defer b.mu.Unlock()
		c.raw, b.raw = g, g
		if b.core.Late().Err() != nil {
			g.Close()
		}
		return g
	}
	o.NoEcho = false
	if o.InProcessServer != nil {
		o.InProcessServer = inProcess{o.InProcessServer, wrap}
		return nil
	}
	d := dialer{wrap: wrap}
	if custom := o.CustomDialer; custom != nil {
		skip, ok := custom.(interface{ SkipTLSHandshake() bool })
		d.dial, d.skip = custom.Dial, ok && skip.SkipTLSHandshake()
	} else {
		usual := net.Dialer{Timeout: o.Timeout}
		if o.Dialer != nil {
			usual = *o.Dialer
		}
		d.dial = func(network, address string) (net.Conn, error) {
			return usual.DialContext(b.core.Late(), network, address)
		}
	}
	o.CustomDialer = d
	return nil
}

// remember adds the servers that NATS knows to those that are tried next.
func (b *Bus) remember(n *nats.Conn) {
	urls := n.DiscoveredServers()
	if len(urls) == 0 {
		return
	}
	own := strings.Split(b.url, ",")
	first, err := url.Parse(own[0])
	for i, text := range urls {
		if u, bad := url.Parse(text); err == nil && bad == nil && u.User == nil {
			u.User = first.User
			urls[i] = u.String()
		}
	}
	b.urls = strings.Join(append(own, urls...), ",")
}

// complain logs what NATS does not like.
func (c *conn) complain(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		c.bus.core.Logger.Warn("messages from the cluster were dropped because they came too fast")
		c.bus.Lost()
		return
	}
	c.bus.core.Logger.Error("NATS refuses something", "error", err)
}

// hear receives until the connection is lost.
func (c *conn) hear(connected func()) error {
	b := c.bus
	var workers sync.WaitGroup
	err := c.mesh.join(c)
	workers.Go(c.pump) // it has to know the mesh's subscriptions
	workers.Go(c.confirm)
	if err == nil {
		err = c.listen(connected)
	}
	if err != nil {
		c.raw.Close()
	} else if c.nats.FlushTimeout(c.bus.patience()) == nil {
		c.confirmed.Store(c.written.Load())
	}
	c.nats.Close()
	<-c.lost
	b.use(nil)
	b.remember(c.nats)
	close(c.gone)
	close(c.arrived)
	workers.Wait()
	b.core.Unsent(int(c.written.Load() - c.confirmed.Load()))
	return err
}

// listen subscribes to what is listened to. It returns nil after Close.
func (c *conn) listen(connected func()) error {
	b := c.bus
	b.core.Renew()
	b.use(c)
	for {
		select {
		case <-c.lost:
			return cmp.Or(c.nats.LastError(), nats.ErrConnectionClosed)
		case <-b.core.Done():
			return nil
		case <-b.core.Stirred():
		}
		add, remove := b.core.Change()
		if err := c.change(add, remove); err != nil {
			return err
		}
		if b.core.Activate(add) {
			connected()
		}
	}
}

// change subscribes and unsubscribes. It returns when what is published from then on arrives.
func (c *conn) change(add, remove []string) error {
	for _, topic := range remove {
		subject := c.bus.subject(topic)
		h := c.held[subject]
		if h.topics--; h.topics == 0 {
			delete(c.held, subject)
			if err := h.sub.Unsubscribe(); err != nil {
				return err
			}
		}
	}
	for _, topic := range add {
		subject := c.bus.subject(topic)
		h := c.held[subject]
		if h == nil {
			sub, err := c.nats.ChanSubscribe(subject, c.arrived)
			if err != nil {
				return err
			}
			h = &held{sub: sub}
			c.held[subject] = h
		}
		h.topics++
	}
	if len(add) == 0 && len(remove) > 0 {
		return nil
	}
	return c.mesh.sync(c)
}

// pump delivers what arrives.
func (c *conn) pump() {
	for m := range c.arrived {
		if !c.mesh.handle(c, m) {
			if topic, data, ok := split(m.Data); ok {
				c.bus.core.Deliver(topic, "", data)
			}
		}
		if len(c.arrived) == 0 {
			signal(c.raw.empty)
		}
	}
}

// confirm asks now and then whether what was written has arrived.
func (c *conn) confirm() {
	for {
		select {
		case <-c.lost:
			return
		case <-c.wrote:
		}
		n := c.written.Load()
		if c.nats.FlushTimeout(c.bus.patience()) != nil {
			c.raw.Close()
			return
		}
		c.confirmed.Store(n)
		select {
		case <-c.lost:
			return
		case <-time.After(confirmTime):
		}
	}
}
