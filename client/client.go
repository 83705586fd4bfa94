package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/sio"
)

// Client is a client in one namespace of a server. Clients of several namespaces can share a connection: see
// Of. It is safe for concurrent use. It is an event.Emitter and an event.Caller.
type Client struct {
	handlers
	conn *conn
	name string
	auth func(context.Context) (any, error)

	mu         sync.Mutex
	wanted     bool  // by Connect, until Close
	link       *link // on which it is connected, or joining
	connected  bool
	since      time.Time // of connected, and of its opposite
	why        error     // why it is not connected
	next       time.Time // when it asks for its namespace again, on the present connection
	news       chan struct{}
	id         string
	pid        string // with which the server recovers the connection state
	offset     string
	ctx        context.Context // ends with the connection
	cancel     context.CancelFunc
	early      []*Packet // came before the answer to CONNECT
	earlyBytes int
	waiting    []*outgoing
	bytes      int // of waiting
	acks       map[int64]*outgoing
	lastID     int64
	inbox      inbox
}

// New returns a client for a URL such as https://example.com/admin, whose path is the namespace. It does
// nothing until Connect.
func New(rawURL string, o *Options) (*Client, error) {
	if o == nil {
		o = &Options{}
	}
	complete, namespace, u, err := o.complete(rawURL)
	if err != nil {
		return nil, err
	}
	return newConn(complete, u).client(namespace, o.Auth), nil
}

func (c *conn) client(namespace string, auth func(context.Context) (any, error)) *Client {
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	return &Client{conn: c, name: namespace, auth: auth, since: time.Now(), news: make(chan struct{}), acks: map[int64]*outgoing{}}
}

// Dial is New and Connect. If the first attempt fails, it returns why, and there is no client.
func Dial(ctx context.Context, rawURL string, o *Options) (*Client, error) {
	c, err := New(rawURL, o)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Of returns a client of another namespace on the same connection, which does nothing until Connect. auth is
// as Options.Auth; nil: nothing is sent. One connection can have one client in each namespace.
func (c *Client) Of(namespace string, auth func(context.Context) (any, error)) *Client {
	return c.conn.client(namespace, auth)
}

// Connect connects the client, and waits until it is connected. If the first attempt fails, it returns why;
// the client goes on trying, unless that is a *ConnectError or Options.Reconnection says otherwise. While the
// client waits for its next attempt, Connect makes it now.
func (c *Client) Connect(ctx context.Context) error {
	c.mu.Lock()
	if c.connected {
		c.mu.Unlock()
		return nil
	}
	news := c.news
	was := c.wanted
	if !was {
		c.wanted, c.why = true, nil
	}
	c.mu.Unlock()
	if err := c.conn.enter(c); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !was {
			c.wanted, c.why = false, err
		}
		return err
	}
	select {
	case <-news:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.connected {
		return nil
	}
	return c.why
}

// Close disconnects the client and ends it. What is queued for the network is sent, for two seconds at most;
// what waits for a connection is dropped. Calls that wait for answers return ErrClosed. Handlers that run
// continue. You can Connect again.
func (c *Client) Close() {
	if c.depart(ErrClosed) {
		c.conn.rest()
	}
}

// depart makes the client one that does not want to be connected, in one step, for whoever learns of it may
// Connect again. It reports whether the connection has no client any more.
func (c *Client) depart(why error) (last bool) {
	c.conn.mu.Lock()
	c.mu.Lock()
	if c.connected && why == ErrClosed {
		c.link.send(&sio.Packet{Type: sio.Disconnect, Namespace: c.name, ID: -1})
	}
	tell := func() {}
	if c.wanted {
		tell = c.loseLocked(why)
	}
	c.wanted = false
	waiting := c.waiting
	c.waiting, c.bytes = nil, 0
	c.mu.Unlock()
	last = c.conn.forgetLocked(c)
	c.conn.mu.Unlock()
	tell()
	for _, o := range waiting {
		c.drop(o, why)
	}
	return last
}

// giveUp drops what waits.
func (c *Client) giveUp(why error) {
	c.mu.Lock()
	waiting := c.waiting
	c.waiting, c.bytes = nil, 0
	c.mu.Unlock()
	for _, o := range waiting {
		c.drop(o, why)
	}
}

// Status is what a client does.
type Status string

// The statuses.
const (
	Connected  Status = "connected"
	Connecting Status = "connecting" // an attempt is under way
	Waiting    Status = "waiting"    // for the next attempt
	Idle       Status = "idle"       // until Connect is called
)

// State says whether a client is connected, and if not, why.
type State struct {
	Status    Status
	Since     time.Time // since when it is connected, or is not
	Err       error     // why it is not; nil before the first attempt
	Attempts  int       // that have failed since it was connected
	Next      time.Time // of the next attempt, while Status is Waiting
	Transport string    // while it is connected
	ID        string    // of the socket, while it is connected
}

// State returns the client's state.
func (c *Client) State() State {
	c.conn.mu.Lock()
	attempts, failure, next, looping, open := c.conn.attempts, c.conn.failure, c.conn.next, c.conn.looping, c.conn.link != nil
	c.mu.Lock()
	c.conn.mu.Unlock()
	defer c.mu.Unlock()
	s := State{Status: Idle, Since: c.since, Err: c.why}
	switch {
	case c.connected:
		return State{Status: Connected, Since: c.since, Transport: c.link.session.Transport(), ID: c.id}
	case !c.wanted || !open && !looping:
		return s
	case open && !c.next.IsZero():
		s.Status, s.Next = Waiting, c.next
	case !open && !next.IsZero():
		s.Status, s.Next = Waiting, next
	default:
		s.Status = Connecting
	}
	s.Attempts = attempts
	if failure != nil && !open {
		s.Err = failure
	}
	return s
}

// ID returns the id of the socket on the server. It is empty while the client is not connected.
func (c *Client) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.connected {
		return ""
	}
	return c.id
}

// connection returns the context of the present connection, or of the last one.
func (c *Client) connection() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ctx
}

// Namespace returns the client's namespace.
func (c *Client) Namespace() string { return c.name }

// proof returns the data of CONNECT.
func (c *Client) proof(ctx context.Context) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if c.auth != nil {
		v, err := c.auth(ctx)
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &members); err != nil {
			return nil, errors.New("client: Auth must return what is encoded as an object")
		}
	}
	c.mu.Lock()
	pid, offset := c.pid, c.offset
	c.mu.Unlock()
	if pid != "" {
		members["pid"], _ = json.Marshal(pid)
		members["offset"], _ = json.Marshal(offset)
	}
	if len(members) == 0 {
		return nil, nil
	}
	return json.Marshal(members)
}

// withQuery returns the name of a namespace with the data of CONNECT, as Socket.IO 2 has it.
func withQuery(namespace string, data []byte) string {
	var members map[string]any
	if json.Unmarshal(data, &members) != nil || len(members) == 0 {
		return namespace
	}
	q := url.Values{}
	for name, v := range members {
		text, ok := v.(string)
		if !ok {
			b, _ := json.Marshal(v)
			text = string(b)
		}
		q.Set(name, text)
	}
	return namespace + "?" + q.Encode()
}

// step is what a client that wants to join has to do.
type step byte

const (
	nothing step = iota // it has left, or waits for an answer
	ask
	joined // it is in the namespace already
)

// joining notes that the client waits for the answer to CONNECT.
func (c *Client) joining(l *link) step {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn.link != l || !c.wanted || c.link == l {
		return nothing
	}
	c.link, c.next = l, time.Time{}
	if c.name == "/" && c.conn.engine.Protocol == eio.V3 && l.greet != used {
		if l.greet == expected {
			return nothing
		}
		l.greet = used
		return joined
	}
	if l.asked[c.name] {
		return nothing
	}
	if l.asked == nil {
		l.asked = map[string]bool{}
	}
	l.asked[c.name] = true
	return ask
}

// tellLocked wakes those that wait for the outcome of an attempt.
func (c *Client) tellLocked() {
	close(c.news)
	c.news = make(chan struct{})
}

// fail notes that an attempt has failed.
func (c *Client) fail(err error) {
	c.mu.Lock()
	c.why = err
	c.tellLocked()
	c.mu.Unlock()
	c.inbox.push(c, 0, func() { c.connectError(err) })
}

// unproved handles that Auth has failed.
func (c *Client) unproved(l *link, err error) {
	c.conn.mu.Lock()
	current := c.conn.link == l && c.conn.spaces[c.name] == c
	c.conn.mu.Unlock()
	switch {
	case !current:
	case c.conn.o.Reconnection.Off:
		c.depart(err)
	default:
		c.fail(err)
		c.conn.rejoin(l, c)
	}
}

// refused handles that the server refuses the client.
func (c *Client) refused(l *link, refusal *ConnectError) {
	c.mu.Lock()
	if c.connected {
		c.mu.Unlock()
		c.inbox.push(c, 0, func() { c.report("connect_error", refusal) })
		return
	}
	if !c.wanted {
		c.mu.Unlock()
		return
	}
	c.link, c.pid, c.offset, c.early, c.earlyBytes = nil, "", "", nil, 0
	c.mu.Unlock()
	f := c.conn.o.RetryRefused
	if f == nil || c.conn.o.Reconnection.Off {
		c.depart(refusal)
		return
	}
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	c.conn.startLocked(func() {
		again := false
		c.conn.outside(func() {
			if err := guard(func() error { again = f(refusal); return nil }); err != nil {
				c.report("connect_error", err)
			}
		})
		if again {
			c.fail(refusal)
			c.conn.rejoin(l, c)
		} else {
			c.depart(refusal)
		}
	})
}

// lost handles the end of the connection.
func (c *Client) lost(why error) {
	c.mu.Lock()
	tell := c.loseLocked(why)
	c.mu.Unlock()
	tell()
}

// loseLocked notes that there is no connection. Call the result without the lock.
func (c *Client) loseLocked(why error) (tell func()) {
	was := c.connected
	c.connected, c.link, c.early, c.earlyBytes, c.why, c.next = false, nil, nil, 0, why, time.Time{}
	err := ErrDisconnected
	if why == ErrClosed {
		err = ErrClosed
	}
	var failed []*outgoing
	for id, o := range c.acks {
		if o.sent {
			delete(c.acks, id)
			failed = append(failed, o)
		}
	}
	if was {
		c.since = time.Now()
		c.cancel()
	}
	c.tellLocked()
	return func() {
		for _, o := range failed {
			o.answer(nil, nil, err)
		}
		switch {
		case was:
			c.inbox.push(c, 0, func() { c.disconnected(why) })
		case why != ErrClosed:
			c.inbox.push(c, 0, func() { c.connectError(why) })
		}
	}
}

// receive handles a packet of the server. An error ends the connection.
func (c *Client) receive(l *link, p *sio.Packet) error {
	switch p.Type {
	case sio.Connect:
		return c.welcome(l, p.Data)
	case sio.ConnectError:
		c.refused(l, refusalOf(c.conn.engine.Protocol, p.Data))
	case sio.Disconnect:
		c.depart(ErrServerDisconnect)
	case sio.Event:
		return c.event(&Packet{client: c, link: l, data: p.Data, attachments: p.Attachments, id: p.ID})
	case sio.Ack:
		c.mu.Lock()
		o := c.acks[p.ID]
		delete(c.acks, p.ID)
		c.mu.Unlock()
		if o != nil {
			o.answer(p.Data, p.Attachments, nil)
		}
	}
	return nil
}

// refusalOf returns the refusal that a server's packet stands for.
func refusalOf(protocol eio.Protocol, data []byte) *ConnectError {
	var text string
	if json.Unmarshal(data, &text) == nil {
		return &ConnectError{Message: text}
	}
	refusal := &ConnectError{}
	if json.Unmarshal(data, refusal) != nil || refusal.Message == "" {
		refusal.Message = "refused"
	}
	var members map[string]any
	if only := json.Unmarshal(data, &members) == nil && len(members) == 1 && members["message"] != nil; protocol == eio.V3 && !only {
		refusal.Data = slices.Clone(data) // all of it is what the server has to say
	}
	return refusal
}

// welcome handles the answer to CONNECT. An error ends the connection.
func (c *Client) welcome(l *link, data []byte) error {
	var answer struct{ SID, PID string }
	if len(data) > 0 {
		if err := json.Unmarshal(data, &answer); err != nil {
			return fmt.Errorf("client: the server's answer to CONNECT: %w", err)
		}
	}
	switch {
	case c.conn.engine.Protocol == eio.V4 && answer.SID == "":
		return errors.New("client: the server's answer to CONNECT has no sid, as if it were of Socket.IO 2: set Options.Protocol to 3")
	case c.conn.engine.Protocol == eio.V3:
		answer.SID, answer.PID = l.session.SID, ""
		if c.name != "/" {
			answer.SID = c.name + "#" + answer.SID
		}
	}
	c.mu.Lock()
	if !c.wanted || c.connected {
		c.mu.Unlock()
		return nil
	}
	c.connected, c.link, c.since, c.why, c.next = true, l, time.Now(), nil, time.Time{}
	recovered := c.pid != "" && c.pid == answer.PID
	if !recovered {
		c.offset = ""
	}
	c.id, c.pid = answer.SID, answer.PID
	c.ctx, c.cancel = context.WithCancel(context.Background())
	early := c.early
	c.early, c.earlyBytes = nil, 0
	c.tellLocked()
	c.mu.Unlock()
	c.inbox.push(c, 0, func() {
		c.welcomed(Connection{Client: c, Recovered: recovered})
		c.flush(l)
	})
	for _, p := range early {
		c.enqueue(p)
	}
	return nil
}
