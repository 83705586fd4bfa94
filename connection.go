package parley

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// connection is one client's connection and the sockets that share it, one for each
// namespace that the client has joined. It is the handler of an engine session.
type connection struct {
	srv     *Server
	session *engine.Session

	// Owned by the goroutine that receives.
	decoder sio.Decoder
	bucket  *bucket // nil: no rate limit

	mu        sync.Mutex
	seats     []seat
	closed    bool
	joining   *time.Timer // until the first namespace is joined
	attaching *time.Timer // until all attachments of a packet are there
	full      int         // sockets whose inbox is full
	awaited   int         // acknowledgements that the client owes
	paused    bool
}

// seat is a namespace that the client has asked to join.
type seat struct {
	namespace string
	socket    *Socket // nil until the namespace is found
	joined    bool
	cancel    context.CancelFunc // while it is looked for
}

func newConnection(srv *Server, session *engine.Session) *connection {
	c := &connection{srv: srv, session: session, decoder: srv.opts.Parser.parser.NewDecoder(srv.limits)}
	if srv.opts.EventRate > 0 || srv.opts.ByteRate > 0 {
		c.bucket = newBucket(srv.opts.EventRate, srv.opts.ByteRate)
	}
	if d := srv.opts.ConnectTimeout; d > 0 {
		c.joining = time.AfterFunc(d, session.Close)
	}
	return c
}

// Opened implements engine.Handler.
func (c *connection) Opened() {
	if c.revision().joinsUnasked() {
		c.connect("/", nil)
	}
}

// Message implements engine.Handler.
func (c *connection) Message(binary bool, data []byte) {
	if c.bucket != nil && !c.bucket.take(len(data)) {
		c.srv.stats.rateLimited.Add(1)
		c.reject("rate limit exceeded")
		return
	}
	awaited := c.decoder.Waiting()
	decode := c.decoder.Text
	if binary {
		decode = c.decoder.Binary
	}
	p, ok, err := decode(data)
	if err != nil {
		c.srv.stats.malformed.Add(1)
		c.reject(err.Error())
		return
	}
	if waiting := c.decoder.Waiting(); waiting != awaited && c.srv.opts.AttachmentWait > 0 {
		c.await(waiting)
	}
	if ok {
		c.packet(p)
	}
}

// reject ends the connection of a client that breaks the protocol or a limit.
func (c *connection) reject(why string) {
	c.srv.log.Debug("parley: client rejected", "session", c.session.ID(), "reason", why)
	c.session.Close()
}

// await bounds the time until all attachments of a packet are there.
func (c *connection) await(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop(&c.attaching)
	if waiting && !c.closed {
		c.attaching = time.AfterFunc(c.srv.opts.AttachmentWait, func() { c.reject("attachments are missing") })
	}
}

func stop(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}

// packet handles one packet. Its data is valid until packet returns.
func (c *connection) packet(p sio.Packet) {
	namespace, auth := c.revision().namespace(p.Namespace, p.Data)
	if p.Type == sio.Connect {
		c.connect(namespace, bytes.Clone(auth))
		return
	}
	s := c.socket(namespace)
	if s == nil {
		if p.Type != sio.Disconnect {
			c.reject("packet for a namespace that is not joined")
		}
		return
	}
	switch p.Type {
	case sio.Event:
		c.srv.stats.eventsIn.Add(1)
		s.received(p)
	case sio.Ack:
		s.resolve(p.ID, payload{data: bytes.Clone(p.Data), attachments: p.Attachments}, nil)
	case sio.Disconnect:
		s.close(ClientNamespaceDisconnect)
	default:
		c.reject("unexpected packet")
	}
}

// socket returns the socket in a namespace that was joined, or nil.
func (c *connection) socket(namespace string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.seatLocked(namespace); i >= 0 && c.seats[i].joined {
		return c.seats[i].socket
	}
	return nil
}

// sockets returns all sockets that have joined.
func (c *connection) sockets() (joined []*Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seats {
		if s.joined {
			joined = append(joined, s.socket)
		}
	}
	return joined
}

func (c *connection) seatLocked(namespace string) int {
	return slices.IndexFunc(c.seats, func(s seat) bool { return s.namespace == namespace })
}

// connect has the client join a namespace. Where nothing may block, it does so at once.
func (c *connection) connect(namespace string, auth json.RawMessage) {
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return
	case c.seatLocked(namespace) >= 0:
		c.mu.Unlock()
		c.reject("namespace joined twice")
		return
	case c.srv.opts.MaxNamespaces > 0 && len(c.seats) >= c.srv.opts.MaxNamespaces:
		c.mu.Unlock()
		c.refuse(namespace, &ConnectError{Message: "Too many namespaces"})
		return
	}
	c.seats = append(c.seats, seat{namespace: namespace})
	c.mu.Unlock()

	if n := c.srv.existing(namespace); n != nil {
		s := newSocket(n, c, auth)
		if s.recovery() == nil && len(n.load().connect) == 0 {
			if c.seat(s) {
				c.admit(s)
			}
			return
		}
		c.srv.work.add(1)
		go c.negotiate(s)
		return
	}
	c.srv.work.add(1)
	go c.discover(namespace, auth)
}

// discover asks whether the namespace may be made, and goes on with connecting.
func (c *connection) discover(namespace string, auth json.RawMessage) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.mu.Lock()
	if i := c.seatLocked(namespace); i >= 0 {
		c.seats[i].cancel = cancel
	} else { // the client has gone already
		cancel()
	}
	c.mu.Unlock()
	n, err := c.srv.resolve(ctx, namespace, auth)
	if err != nil {
		c.srv.log.Error("parley: rule for namespaces failed", "error", err)
	}
	if n == nil {
		c.unseat(namespace, nil)
		c.refuse(namespace, errInvalidNamespace)
		c.srv.work.add(-1)
		return
	}
	c.negotiate(newSocket(n, c, auth))
}

// negotiate runs what may block before the client has joined.
func (c *connection) negotiate(s *Socket) {
	defer c.srv.work.add(-1)
	if !c.seat(s) {
		return
	}
	n := s.nsp
	if r := s.recovery(); r != nil {
		r.restore(s)
	}
	if !s.recovered || n.srv.opts.Recovery.RunMiddleware {
		for _, f := range n.load().connect {
			if err := guard(func() error { return f(s.Context(), s) }); err != nil {
				c.srv.logHandlerError(s, "connect", err)
				s.close(ServerNamespaceDisconnect) // gives up the seat: the client may ask again
				c.refuse(n.name, err)
				return
			}
		}
	}
	c.admit(s)
}

// seat gives the socket its place. It reports false if the client is gone.
func (c *connection) seat(s *Socket) bool {
	c.mu.Lock()
	i := c.seatLocked(s.nsp.name)
	if i < 0 {
		c.mu.Unlock()
		s.close(TransportClose)
		return false
	}
	c.seats[i].socket = s
	c.mu.Unlock()
	return true
}

// unseat gives up the socket's place: the client may ask for the namespace again.
func (c *connection) unseat(namespace string, s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.seatLocked(namespace); i >= 0 && c.seats[i].socket == s {
		c.seats = slices.Delete(c.seats, i, i+1)
	}
}

// refuse answers a client that may not join a namespace.
func (c *connection) refuse(namespace string, err error) {
	n := &Namespace{srv: c.srv, name: namespace}
	c.session.Send(n.encodeControl(sio.ConnectError, c.revision().refusal(err)).messages...)
}

// admit has the socket join. From the client's first event on, everything is in order:
// the socket can be found, its connection handlers come first in its inbox, and what
// they send follows the answer to CONNECT.
func (c *connection) admit(s *Socket) {
	c.mu.Lock()
	i := c.seatLocked(s.nsp.name)
	if i < 0 || c.seats[i].socket != s {
		c.mu.Unlock()
		return
	}
	c.seats[i].joined = true
	stop(&c.joining)
	c.mu.Unlock()
	s.admit()
}

// Closed implements engine.Handler.
func (c *connection) Closed(reason engine.Reason, cause error) {
	c.mu.Lock()
	c.closed = true
	stop(&c.joining)
	stop(&c.attaching)
	seats := c.seats
	c.seats = nil
	c.mu.Unlock()
	for _, seat := range seats {
		if seat.cancel != nil {
			seat.cancel()
		}
		if seat.socket != nil {
			seat.socket.close(Reason(reason))
		}
	}
}

// pressure adds to the counts of full inboxes and awaited acknowledgements, and stops or
// resumes reading. While a handler may be waiting for an acknowledgement, reading goes on,
// or neither would ever get on.
func (c *connection) pressure(full, awaited int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full += full
	c.awaited += awaited
	if pause := c.full > 0 && c.awaited == 0; pause != c.paused {
		c.paused = pause
		if pause {
			c.session.Pause()
		} else {
			c.session.Resume()
		}
	}
}

// bucket is a pair of token buckets, for events and bytes, that hold two seconds' worth.
type bucket struct {
	rate, tokens [2]float64 // events, bytes; a rate of 0 is no limit
	last         time.Time
}

const burstSeconds = 2

func newBucket(events, bytes float64) *bucket {
	b := &bucket{rate: [2]float64{events, bytes}, last: time.Now()}
	for i, r := range b.rate {
		b.tokens[i] = max(r*burstSeconds, 1)
	}
	return b
}

// take takes one event of n bytes, or reports that there is no token for it.
func (b *bucket) take(n int) bool {
	now := time.Now()
	elapsed := now.Sub(b.last).Seconds()
	b.last = now
	for i, cost := range [2]float64{1, float64(n)} {
		if b.rate[i] <= 0 {
			continue
		}
		b.tokens[i] = min(b.tokens[i]+elapsed*b.rate[i], max(b.rate[i]*burstSeconds, 1))
		if b.tokens[i] <= 0 {
			return false
		}
		b.tokens[i] -= cost // below zero by at most one message
	}
	return true
}
