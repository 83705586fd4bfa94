package parley

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
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

	inboxed atomic.Int64 // bytes in the inboxes of all sockets
	crowded atomic.Bool  // they are too many; changed under mu

	mu          sync.Mutex
	seats       []seat
	attempts    int      // to join a namespace, counted: a seat's is its own
	negotiating int      // goroutines that find out whether a namespace may be joined
	left        []uint64 // hashes of namespaces that the client had joined
	closed      bool
	joining     *time.Timer // until the first namespace is joined
	attaching   *time.Timer // until all attachments of a packet are there
	full        int         // sockets whose inbox is full
	awaited     int         // acknowledgements that the client owes
	paused      bool
}

// seat is a namespace that the client has asked to join.
type seat struct {
	namespace string
	attempt   int
	socket    *Socket // nil until the namespace is found
	joined    bool
	cancel    context.CancelFunc // while it is looked for
}

// maxLeft bounds connection.left.
const maxLeft = 64

func newConnection(srv *Server, session *engine.Session) *connection {
	c := &connection{srv: srv, session: session, decoder: srv.opts.Parser.parser.NewDecoder(srv.limits)}
	if srv.opts.EventsPerSecond > 0 || srv.opts.BytesPerSecond > 0 {
		c.bucket = newBucket(srv.opts.EventsPerSecond, srv.opts.BytesPerSecond)
	}
	if d := srv.opts.ConnectTimeout; d > 0 {
		c.joining = time.AfterFunc(d, session.Close)
	}
	return c
}

// connContext is what Options.ConnContext returned for a connection.
type connContext struct {
	context.Context
	detach func() bool // has the end of the context not close the connection; guarded by connection.mu
}

// parent returns the context that those of the connection's sockets descend from.
func (c *connection) parent() context.Context {
	if ctx := c.session.Handshake().Context; ctx != nil {
		return ctx
	}
	return context.Background()
}

// Opened implements engine.Handler.
func (c *connection) Opened() {
	if ctx, ok := c.session.Handshake().Context.(*connContext); ok && ctx.Done() != nil {
		c.mu.Lock()
		if !c.closed {
			ctx.detach = context.AfterFunc(ctx, c.session.Close)
		}
		c.mu.Unlock()
	}
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
	if waiting := c.decoder.Waiting(); waiting != awaited && c.srv.opts.AttachmentTimeout > 0 {
		c.await(waiting)
	}
	if ok {
		c.packet(p)
	}
}

// reject ends the connection of a client that breaks the protocol or a limit. Events of it that
// are not being handled yet are dropped.
func (c *connection) reject(why string) {
	c.srv.log.Debug("parley: client rejected", "session", c.session.ID(), "reason", why)
	for _, s := range c.sockets() {
		s.dismiss()
	}
	c.session.Close()
}

// await bounds the time until all attachments of a packet are there.
func (c *connection) await(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop(&c.attaching)
	if waiting && !c.closed {
		c.attaching = time.AfterFunc(c.srv.opts.AttachmentTimeout, func() { c.reject("attachments are missing") })
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
	switch p.Type {
	case sio.Connect:
		c.connect(namespace, bytes.Clone(auth))
		return
	case sio.Disconnect:
		c.leave(namespace)
		return
	}
	s, left := c.socket(namespace)
	switch {
	case s == nil && left: // the client did not know yet that it is not there any more
	case s == nil:
		c.reject("packet for a namespace that is not joined")
	case p.Type == sio.Event:
		c.srv.stats.eventsIn.Add(1)
		s.received(p)
	case p.Type == sio.Ack:
		s.resolve(p.ID, payload{data: bytes.Clone(p.Data), attachments: p.Attachments}, nil)
	default:
		c.reject("unexpected packet")
	}
}

// socket returns the socket in a namespace that was joined, or nil and whether the client had
// joined it before.
func (c *connection) socket(namespace string) (s *Socket, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.seatLocked(namespace); i >= 0 && c.seats[i].joined {
		return c.seats[i].socket, false
	}
	return nil, len(c.left) > 0 && slices.Contains(c.left, c.srv.hash(namespace))
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

// leave takes the client out of a namespace, as it wants. If it is still joining, it does not any
// more.
func (c *connection) leave(namespace string) {
	c.mu.Lock()
	i := c.seatLocked(namespace)
	if i < 0 {
		c.mu.Unlock()
		return
	}
	left := c.seats[i]
	if !left.joined {
		c.seats = slices.Delete(c.seats, i, i+1)
	}
	c.mu.Unlock()
	left.end(ClientNamespaceDisconnect)
}

// end ends the socket, or the search for its namespace.
func (s *seat) end(reason Reason) {
	if s.cancel != nil {
		s.cancel()
	}
	if s.socket != nil {
		s.socket.close(reason)
	}
}

// connect has the client join a namespace. Where nothing may block, it does so at once. If it is
// joining already, it begins again.
func (c *connection) connect(namespace string, auth json.RawMessage) {
	c.mu.Lock()
	i := c.seatLocked(namespace)
	if i >= 0 && !c.seats[i].joined {
		c.mu.Unlock()
		c.leave(namespace)
		c.mu.Lock()
		i = c.seatLocked(namespace)
	}
	limit := c.srv.opts.MaxNamespaces
	switch {
	case c.closed:
		c.mu.Unlock()
		return
	case i >= 0:
		c.mu.Unlock()
		c.reject("namespace joined twice")
		return
	case limit > 0 && max(len(c.seats), c.negotiating) >= limit:
		c.mu.Unlock()
		c.refuse(namespace, &Error{Code: CodeTooManyNamespaces, Message: "Too many namespaces"})
		return
	}
	c.attempts++
	attempt := c.attempts
	c.seats = append(c.seats, seat{namespace: namespace, attempt: attempt})
	c.mu.Unlock()

	n := c.srv.existing(namespace)
	if n == nil {
		c.negotiate(func() { c.discover(namespace, attempt, auth) })
		return
	}
	blocks := c.revision().recovers() && n.local.recovery != nil || n.screens()
	s := newSocket(n, c, auth, !blocks && !n.welcomes())
	switch {
	case !c.seat(s, attempt):
	case blocks:
		c.negotiate(func() { c.screen(s) })
	default:
		c.admit(s)
	}
}

// negotiate runs f, which may block, on a goroutine.
func (c *connection) negotiate(f func()) {
	c.mu.Lock()
	c.negotiating++
	c.mu.Unlock()
	c.srv.work.add(1)
	go func() {
		f()
		c.mu.Lock()
		c.negotiating--
		c.mu.Unlock()
		c.srv.work.add(-1)
	}()
}

// discover asks whether the namespace may be made, and goes on with joining.
func (c *connection) discover(namespace string, attempt int, auth json.RawMessage) {
	ctx, cancel := context.WithCancel(c.parent())
	defer cancel()
	c.mu.Lock()
	i := c.attemptLocked(attempt)
	if i >= 0 {
		c.seats[i].cancel = cancel
	}
	c.mu.Unlock()
	if i < 0 { // the client has gone, or given up
		return
	}
	n, err := c.srv.resolve(ctx, namespace, auth)
	if err != nil && ctx.Err() == nil {
		c.srv.log.Error("parley: rule for namespaces failed", "error", err)
	}
	if n != nil {
		if s := newSocket(n, c, auth, false); c.seat(s, attempt) {
			c.screen(s)
		}
		return
	}
	c.mu.Lock()
	i = c.attemptLocked(attempt)
	if i >= 0 {
		c.seats = slices.Delete(c.seats, i, i+1)
	}
	c.mu.Unlock()
	if i >= 0 {
		c.refuse(namespace, errInvalidNamespace)
	}
}

// screen has the socket pass what may block before it is admitted.
func (c *connection) screen(s *Socket) {
	n := s.nsp
	if r := s.recovery(); r != nil {
		r.claim(s)
	}
	if !s.recovered || n.srv.opts.Recovery.RunMiddleware {
		for _, t := range n.tables() {
			for _, f := range t.connect {
				err := guard(func() error { return f.call(s.Context(), s) })
				if s.gone() {
					return // the client does not wait for an answer any more
				}
				if err != nil {
					c.srv.logHandlerError(s, "connect", err)
					s.close(ServerNamespaceDisconnect) // gives up the seat: the client may ask again
					c.refuse(n.name, err)
					return
				}
			}
		}
	}
	c.admit(s)
}

func (c *connection) attemptLocked(attempt int) int {
	return slices.IndexFunc(c.seats, func(s seat) bool { return s.attempt == attempt })
}

// seat gives the socket its place. It reports false if the client has gone, or given up.
func (c *connection) seat(s *Socket, attempt int) bool {
	c.mu.Lock()
	i := c.attemptLocked(attempt)
	if i >= 0 {
		c.seats[i].socket, c.seats[i].cancel = s, nil
	}
	c.mu.Unlock()
	if i < 0 {
		s.close(TransportClose)
	}
	return i >= 0
}

// unseat gives up the socket's place: the client may ask for the namespace again. What it sends to
// the socket before it knows is ignored.
func (c *connection) unseat(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.seats, func(seat seat) bool { return seat.socket == s })
	if i < 0 {
		return
	}
	if hash := c.srv.hash(s.nsp.name); c.seats[i].joined && !slices.Contains(c.left, hash) {
		if len(c.left) >= maxLeft {
			c.left = slices.Delete(c.left, 0, 1)
		}
		c.left = append(c.left, hash)
	}
	c.seats = slices.Delete(c.seats, i, i+1)
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
	if ctx, ok := c.session.Handshake().Context.(*connContext); ok && ctx.detach != nil {
		ctx.detach()
	}
	stop(&c.joining)
	stop(&c.attaching)
	seats := c.seats
	c.seats = nil
	c.mu.Unlock()
	for _, seat := range seats {
		seat.end(Reason(reason))
	}
}
