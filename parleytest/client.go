package parleytest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
)

// Client is a client in a test. It keeps the events of the server, in order, until Next takes them. Methods
// that fail the test belong to its goroutine.
//
// Its embedded [client.Client] does everything else. So a *Client is an event.Caller, and it has OnConnect,
// Room, ID and State.
type Client struct {
	*client.Client

	s        *Server
	t        testing.TB
	log      *testLog
	patience time.Duration
	auth     func(context.Context) (any, error)
	network  *network

	mu        sync.Mutex
	news      chan struct{} // closed when something below changes
	unread    []*client.Packet
	answers   map[string]*answer
	losses    []error // of connections, which no Disconnected has returned
	connected int     // how often
	down      bool    // the connection is lost
	recovered bool    // it was, the last time
}

// network is the connections of a client, which those of several namespaces share.
type network struct {
	mu     sync.Mutex
	conns  []*conn // the server's ends
	frozen bool
	down   bool // no connection can be made
}

// Dial connects a client. The error is a *client.ConnectError if the server refuses the client, for example
// because of its Auth; errors.As finds the *event.Error in it that the server's middleware has returned.
func (s *Server) Dial(options ...Option) (*Client, error) {
	s.t.Helper()
	return s.connect(s.dialing(options))
}

// MustDial is Dial, and fails the test if the client cannot connect.
func (s *Server) MustDial(options ...Option) *Client {
	s.t.Helper()
	d := s.dialing(options)
	c, err := s.connect(d)
	if err != nil {
		d.t.Helper()
		d.t.Fatalf("parleytest: dial: %v", err)
	}
	return c
}

func (s *Server) dialing(options []Option) *dialing {
	d := &dialing{t: s.t, namespace: "/", patience: patience}
	d.Transports, d.Reconnection.Off = []string{"websocket"}, true
	for _, o := range options {
		o(d)
	}
	return d
}

// connect connects a client.
func (s *Server) connect(d *dialing) (*Client, error) {
	n := &network{}
	log := &testLog{t: d.t}
	if d.NetDial == nil {
		d.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			mine, served, err := s.dial(ctx, d.from)
			if err != nil {
				return nil, err
			}
			if err := n.add(served); err != nil {
				return nil, err
			}
			return mine, nil
		}
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	raw, err := client.New(s.URL+slashed(d.namespace), &d.Options)
	if err != nil {
		return nil, err
	}
	c := s.newClient(raw, d, log, n)
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c, nil
}

func slashed(namespace string) string {
	if namespace != "" && namespace[0] == '/' {
		return namespace
	}
	return "/" + namespace
}

// Of connects a client of another namespace over the same connection, and fails the test if that cannot be.
// Of the options, only Auth has an effect.
func (c *Client) Of(namespace string, options ...Option) *Client {
	c.t.Helper()
	d := &dialing{t: c.t, patience: c.patience}
	for _, o := range options {
		o(d)
	}
	other := c.s.newClient(c.Client.Of(namespace, d.Auth), d, c.log, c.network)
	if err := other.connect(); err != nil {
		c.t.Fatalf("parleytest: connect to %s: %v", namespace, err)
	}
	return other
}

func (s *Server) newClient(raw *client.Client, d *dialing, log *testLog, n *network) *Client {
	c := &Client{Client: raw, s: s, t: d.t, log: log, patience: d.patience, auth: d.Auth, network: n, news: make(chan struct{}), answers: map[string]*answer{}}
	raw.OnAny(c.receive)
	raw.OnConnect(func(n client.Connection) {
		c.set(func() { c.connected, c.down, c.recovered = c.connected+1, false, n.Recovered })
	})
	raw.OnDisconnect(func(why error) {
		c.set(func() { c.down, c.losses = true, append(c.losses, why) })
	})
	raw.OnError(func(event string, err error) {
		log.errorf("parleytest: the client's handler of %q: %v", event, err)
	})
	s.mu.Lock()
	s.clients = append(s.clients, c)
	s.mu.Unlock()
	d.t.Cleanup(c.end)
	return c
}

func (n *network) add(c *conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		c.cut()
		return errors.New("parleytest: the network is down")
	}
	n.conns = slices.DeleteFunc(n.conns, func(c *conn) bool { return isClosed(c.closed) })
	n.conns = append(n.conns, c)
	c.freeze(n.frozen)
	return nil
}

// fail cuts all connections, which it returns, and lets none be made until heal.
func (n *network) fail() []*conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down, n.frozen = true, false
	for _, c := range n.conns {
		c.cut()
	}
	return slices.Clone(n.conns)
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

func (n *network) freeze(frozen bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = frozen
	for _, c := range n.conns {
		c.freeze(frozen)
	}
}

// set changes what the client knows, and wakes those that wait.
func (c *Client) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.news)
	c.news = make(chan struct{})
}

// wait waits until is, which is called with the lock, returns true. It returns false if that takes too long.
func (c *Client) wait(is func() bool) bool {
	timer := time.NewTimer(c.patience)
	defer timer.Stop()
	for {
		c.mu.Lock()
		done, news := is(), c.news
		c.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-news:
		case <-timer.C:
			return false
		}
	}
}

// connect connects, and waits until the handlers of OnConnect have run.
func (c *Client) connect() error {
	ctx, cancel := c.context()
	defer cancel()
	var before int
	c.set(func() { before = c.connected })
	if err := c.Connect(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, c.State().Err)
		}
		c.Client.Close()
		return err
	}
	if !c.wait(func() bool { return c.connected > before }) {
		return errors.New("a handler of OnConnect has not returned")
	}
	return nil
}

// context returns a context that ends when the client's patience does.
func (c *Client) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), c.patience)
}

// Close disconnects the client as a program does that ends. The end of the test does it for you.
func (c *Client) Close() {
	c.network.freeze(false)
	c.Client.Close()
	ctx, cancel := c.context()
	defer cancel()
	_ = c.Handled(ctx) // if one runs for ever, the test sees that elsewhere
}

// end closes the client when its test ends.
func (c *Client) end() {
	c.Close()
	c.log.end()
}

// Drop breaks the connection, as a network does that fails, and waits until both sides have noticed. What is
// under way is lost. The server of a client with long polling notices only after its ping timeout.
func (c *Client) Drop() {
	c.t.Helper()
	var before int
	c.set(func() { before = len(c.losses) })
	if !c.isConnected() {
		c.t.Fatalf("parleytest: Drop: the client is not connected%s", c.why())
	}
	defer c.network.heal() // a client with long polling would go on over another connection
	cut := c.network.fail()
	if !c.wait(func() bool { return len(c.losses) > before }) {
		c.t.Fatalf("parleytest: Drop: the client has not noticed it for %v", c.patience)
	}
	c.set(func() { c.losses = slices.Delete(c.losses, before, before+1) })
	late := time.NewTimer(c.patience)
	defer late.Stop()
	for _, served := range cut {
		select {
		case <-served.closed:
		case <-late.C:
			c.t.Fatalf("parleytest: Drop: the server has not noticed it for %v", c.patience)
		}
	}
}

// Freeze lets nothing pass between the client and the server any more, in both directions, and tells neither
// of them: as a phone does that has no signal. Both sides notice when their heartbeats fail. [Client.Thaw]
// lets everything pass that was held up. Drop and Close end it, too.
func (c *Client) Freeze() { c.network.freeze(true) }

// Thaw ends Freeze.
func (c *Client) Thaw() { c.network.freeze(false) }

// Reconnect connects the client again, and fails the test if that cannot be. It says whether the server has
// recovered the connection: then the client keeps its id, and Next returns what it has missed.
func (c *Client) Reconnect() (recovered bool) {
	c.t.Helper()
	if c.isConnected() {
		c.t.Fatalf("parleytest: Reconnect: the client is connected; Drop or Close it first")
	}
	if err := c.connect(); err != nil {
		c.t.Fatalf("parleytest: Reconnect: %v", err)
	}
	c.set(func() { recovered = c.recovered })
	return recovered
}

// Disconnected waits until the connection is lost, and returns why: client.ErrServerDisconnect, a
// *client.LostError, or client.ErrClosed. Each loss is returned once, in order; those by Drop are not.
func (c *Client) Disconnected() (why error) {
	c.t.Helper()
	if !c.wait(func() bool { return len(c.losses) > 0 }) {
		c.t.Fatalf("parleytest: Disconnected: the client is still connected after %v%s", c.patience, c.came())
	}
	c.set(func() { why, c.losses = c.losses[0], c.losses[1:] })
	return why
}

func (c *Client) isConnected() bool { return c.State().Status == client.Connected }

// why says why the client is not connected.
func (c *Client) why() string {
	if s := c.State(); s.Status != client.Connected && s.Err != nil {
		return ": " + s.Err.Error()
	}
	return ""
}

var _ event.Caller = (*Client)(nil)
