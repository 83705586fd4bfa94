package parley

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// connection is one client's connection, with one socket for each namespace that the client has
// joined. It is the handler of an engine session.
type connection struct {
	srv     *Server
	session *engine.Session

	decoder sio.Decoder // owned by the receiving goroutine

	inboxed atomic.Int64 // bytes in the inboxes of all sockets
	crowded atomic.Bool  // inboxed is over its limit; changed under mu

	attached atomic.Int32 // bytes of attachments that the decoder holds

	mu          sync.Mutex
	seats       []seat
	attempts    int      // counts attempts to join a namespace; a seat stores its own number
	negotiating int      // goroutines that ask rules or run middleware
	left        []uint64 // hashes of namespaces that the client has left
	closed      bool
	attaching   *time.Timer // runs until all attachments of a packet have arrived
	full        int         // sockets whose inbox is full
	awaited     int         // acknowledgements that the client owes
	paused      bool
}

// seat is a namespace that the client has asked to join.
type seat struct {
	namespace string
	attempt   int
	socket    *Socket // nil until the namespace is resolved
	joined    bool
	cancel    context.CancelFunc // while the namespace is being resolved
}

// maxLeft bounds connection.left.
const maxLeft = 64

func newConnection(srv *Server, session *engine.Session) *connection {
	return &connection{srv: srv, session: session, decoder: srv.opts.Parser.parser.NewDecoder(srv.limits)}
}

// connContext is the context that Options.ConnContext returned for a connection.
type connContext struct {
	context.Context
	detach func() bool // stops the context's end from closing the connection; guarded by connection.mu
}

// parent returns the parent of the contexts of the connection's sockets.
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
			ctx.detach = context.AfterFunc(ctx, c.close)
		}
		c.mu.Unlock()
	}
	if c.revision().joinsUnasked() {
		c.connect("/", nil)
	}
}

// Message implements engine.Handler.
func (c *connection) Message(binary bool, data []byte) {
	c.session.Charge(budget.Events, 1)
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
	waiting := c.decoder.Waiting()
	if waiting != awaited && c.srv.opts.AttachmentTimeout > 0 {
		c.await(waiting)
	}
	if waiting {
		c.attached.Add(int32(len(data)))
		c.session.Hold(len(data))
	}
	if awaited && !waiting || waiting && c.isClosed() {
		c.detach()
	}
	if ok {
		c.packet(p)
	}
}

// detach reports that the decoder no longer holds attachments.
func (c *connection) detach() { c.session.Hold(-int(c.attached.Swap(0))) }

func (c *connection) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// reject closes the connection of a client that breaks the protocol or a limit.
func (c *connection) reject(why string) {
	c.srv.log.Debug("parley: client rejected", "session", c.session.ID(), "reason", why)
	c.close()
}

// close sends what is queued, then closes the connection. It drops the client's events that no
// handler has started on.
func (c *connection) close() {
	for _, s := range c.sockets() {
		s.dismiss()
	}
	c.session.Close()
}

// await starts or stops the timer for the attachments of a packet.
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

// packet handles one packet. p's data is valid only until packet returns.
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
	case s == nil && left: // the client does not know yet that it is no longer there
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

// socket returns the socket of a joined namespace. If there is none, left says whether the client
// had joined the namespace before.
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

// leave takes the client out of a namespace at its request. It also stops a join that is under way.
func (c *connection) leave(namespace string) {
	c.mu.Lock()
	i := c.seatLocked(namespace)
	if i < 0 {
		c.mu.Unlock()
		return
	}
	left := c.seats[i]
	if !left.joined {
		c.vacateLocked(i)
	}
	c.mu.Unlock()
	left.end(ClientNamespaceDisconnect)
}

// end ends the socket, or the resolution of its namespace.
func (s *seat) end(reason Reason) {
	if s.cancel != nil {
		s.cancel()
	}
	if s.socket != nil {
		s.socket.close(reason)
	}
}

// connect lets the client join a namespace: at once if nothing can block. If a join is already
// under way, connect starts it again.
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
	if attempt > 1 || !c.revision().joinsUnasked() {
		c.session.SetPending(false)
	}
	c.mu.Unlock()

	p, ok := c.proveNothing()
	if !ok {
		c.negotiate(func() { c.authorize(namespace, attempt, auth) })
		return
	}
	n := c.srv.existing(namespace)
	if n == nil {
		c.negotiate(func() { c.discover(namespace, attempt, auth, p) })
		return
	}
	blocks := c.revision().recovers() && n.local.recovery != nil || n.screens() || n.local.ready() != nil
	s := newSocket(n, c, auth, p, !blocks && !n.welcomes())
	switch {
	case !c.seat(s, attempt):
	case blocks:
		c.negotiate(func() { c.screen(s) })
	case c.attach(s):
		c.admit(s)
	}
}

// negotiate runs f, which may block, on its own goroutine.
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

// resolving returns a context that ends when the client disconnects or gives this attempt up.
func (c *connection) resolving(attempt int) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.parent())
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.attemptLocked(attempt); i >= 0 {
		c.seats[i].cancel = cancel
	} else {
		cancel()
	}
	return ctx, cancel
}

// authorize asks who the client is, then continues with the join. Only a client that is known may
// learn which namespaces there are, and have one created.
func (c *connection) authorize(namespace string, attempt int, auth json.RawMessage) {
	ctx, cancel := c.resolving(attempt)
	p, err := c.prove(ctx, namespace, auth)
	cancel()
	if err != nil {
		c.turnAway(namespace, attempt, err)
	} else if n := c.srv.existing(namespace); n != nil {
		c.approach(n, attempt, auth, p)
	} else {
		c.discover(namespace, attempt, auth, p)
	}
}

// discover resolves the namespace, which may create it, then continues with the join.
func (c *connection) discover(namespace string, attempt int, auth json.RawMessage, p *proof) {
	ctx, cancel := c.resolving(attempt)
	defer cancel()
	var n *Namespace
	var err error
	if ctx.Err() == nil {
		n, err = c.srv.resolve(ctx, namespace, auth)
	}
	if err != nil && ctx.Err() == nil {
		c.srv.log.Error("parley: rule for namespaces failed", "error", err)
	}
	if n != nil {
		c.approach(n, attempt, auth, p)
		return
	}
	c.srv.proofs.forget(p)
	c.turnAway(namespace, attempt, errInvalidNamespace)
}

// approach lets the client join a namespace that exists.
func (c *connection) approach(n *Namespace, attempt int, auth json.RawMessage, p *proof) {
	if s := newSocket(n, c, auth, p, false); c.seat(s, attempt) {
		c.screen(s)
	}
}

// turnAway refuses a client that has no socket yet, unless it has given this attempt up.
func (c *connection) turnAway(namespace string, attempt int, err error) {
	c.mu.Lock()
	i := c.attemptLocked(attempt)
	if i >= 0 {
		c.vacateLocked(i)
	}
	c.mu.Unlock()
	if i >= 0 {
		c.refuse(namespace, err)
	}
}

// screen runs everything that may block before a socket is admitted: recovery and middleware.
func (c *connection) screen(s *Socket) {
	n := s.nsp
	if !c.attach(s) {
		return
	}
	if ready := n.local.ready(); ready != nil {
		await([]<-chan struct{}{ready})
	}
	if r := s.recovery(); r != nil {
		r.claim(s)
	}
	if !s.recovered || n.srv.opts.Recovery.RunMiddleware || s.bare() {
		for _, t := range n.tables() {
			for _, f := range t.connect {
				err := guard(func() error { return f.call(s.Context(), s) })
				if s.gone() {
					return // the client no longer waits for an answer
				}
				if err != nil {
					c.srv.logHandlerError(s, "connect", err)
					s.close(ServerNamespaceDisconnect) // frees the seat, so that the client may ask again
					c.refuse(n.name, err)
					return
				}
			}
		}
	}
	c.admit(s)
}

// attach puts the socket's proof in line. If it has been revoked meanwhile, attach refuses the client
// and reports false.
func (c *connection) attach(s *Socket) bool {
	valid := c.srv.proofs.attach(s.proof, s)
	if !valid {
		s.expel(errRevoked)
	}
	return valid
}

func (c *connection) attemptLocked(attempt int) int {
	return slices.IndexFunc(c.seats, func(s seat) bool { return s.attempt == attempt })
}

// seat puts the socket on its seat. It reports false if the client has disconnected or given up.
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

// unseat frees the socket's seat, so that the client may ask for the namespace again. What the
// client sends before it learns this is ignored. unseat reports whether the socket had a seat.
func (c *connection) unseat(s *Socket) (was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.seats, func(seat seat) bool { return seat.socket == s })
	if i < 0 {
		return false
	}
	if hash := c.srv.hash(s.nsp.name); c.seats[i].joined && !slices.Contains(c.left, hash) {
		if len(c.left) >= maxLeft {
			c.left = slices.Delete(c.left, 0, 1)
		}
		c.left = append(c.left, hash)
	}
	c.vacateLocked(i)
	return true
}

// vacateLocked removes a seat. A client that has never been in a namespace is then expected to ask
// for another one in time.
func (c *connection) vacateLocked(i int) {
	c.seats = slices.Delete(c.seats, i, i+1)
	if len(c.seats) == 0 && len(c.left) == 0 {
		c.session.SetPending(true)
	}
}

// closeUnused closes the connection if its client is in no namespace and does not join one.
func (c *connection) closeUnused() {
	c.mu.Lock()
	unused := len(c.seats) == 0
	c.mu.Unlock()
	if unused {
		c.session.Close()
	}
}

// refuse answers a client that may not join a namespace.
func (c *connection) refuse(namespace string, err error) {
	n := &Namespace{srv: c.srv, name: namespace}
	c.session.Send(n.encodeControl(sio.ConnectError, c.revision().refusal(err)).messages...)
}

// admit makes the socket join. The order is then right from the client's first event on: the socket
// can be found, its OnConnection handlers come first in its inbox, and what they send follows the
// answer to CONNECT.
func (c *connection) admit(s *Socket) {
	c.mu.Lock()
	i := c.seatLocked(s.nsp.name)
	if i < 0 || c.seats[i].socket != s {
		c.mu.Unlock()
		return
	}
	c.seats[i].joined = true
	c.mu.Unlock()
	s.admit()
}

// Closed implements engine.Handler.
func (c *connection) Closed(reason engine.Reason, cause error) {
	if errors.Is(cause, engine.ErrMemory) {
		for _, s := range c.sockets() {
			s.dismiss()
		}
	}
	c.mu.Lock()
	c.closed = true
	if ctx, ok := c.session.Handshake().Context.(*connContext); ok && ctx.detach != nil {
		ctx.detach()
	}
	stop(&c.attaching)
	seats := c.seats
	c.seats = nil
	c.mu.Unlock()
	c.detach()
	for _, seat := range seats {
		seat.end(Reason(reason))
	}
}
