package parley

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/fifo"
	"github.com/parley-go/parley/internal/rooms"
	"github.com/parley-go/parley/internal/sio"
)

// Reason says why a socket disconnected, in the terms of the reference implementation.
type Reason string

const (
	TransportError            = Reason(engine.TransportError)
	TransportClose            = Reason(engine.TransportClose)
	ForcedClose               = Reason(engine.ForcedClose) // the server closed the connection, or rejected the client
	PingTimeout               = Reason(engine.PingTimeout)
	ParseError                = Reason(engine.ParseError)
	ServerShutdown            = Reason("server shutting down")
	ClientNamespaceDisconnect = Reason("client namespace disconnect")
	ServerNamespaceDisconnect = Reason("server namespace disconnect")
)

// Socket is one client in one namespace. It is safe for concurrent use. The package comment
// describes the order in which its handlers run.
type Socket struct {
	member rooms.Member[*Socket] // holds the id
	nsp    *Namespace
	conn   *connection
	proof  *proof // of who the client is; nil without Options.Authorize

	comeback *comeback                // what the client may come back to; nil without recovery
	handlers atomic.Pointer[handlers] // nil until something is registered

	// There is one Socket per client and namespace, so small fields are placed together.
	entering  atomic.Bool // entrance is not nil; changed under mu
	recovered bool
	mu        sync.Mutex // guards the fields below
	state     socketState
	working   bool // a goroutine takes tasks from the inbox
	full      bool // it counts in conn.full
	dismissed bool // the server has disconnected it: events in the inbox are not handled

	auth     string    // the client's payload for the namespace, see forgetAuth
	entrance *entrance // while the client joins
	inbox    fifo.Queue[task]
	acks     map[int64]func(payload, error)
	done     chan struct{} // closed on disconnect; made when first needed
	after    []*func()     // called on disconnect
	data     any
	left     []string // the rooms that it was in when it disconnected
}

type socketState uint8

const (
	connecting socketState = iota
	connected
	disconnected
)

// newSocket makes a connecting socket. direct says that it will be admitted at once.
func newSocket(n *Namespace, c *connection, auth json.RawMessage, p *proof, direct bool) *Socket {
	s := &Socket{nsp: n, conn: c, auth: string(auth), proof: p}
	s.member.ID = c.revision().socketID(n, c.session)
	s.member.Value = s
	if !direct {
		s.entrance = &entrance{}
		s.entering.Store(true)
	}
	return s
}

// tables returns the handlers that apply to the socket: its namespace's parent's, its namespace's,
// and its own.
func (s *Socket) tables() [3]*table {
	of := s.nsp.tables()
	return [3]*table{of[0], of[1], s.handlers.Load().load()}
}

// recovery returns the recovery that lets the client come back to this socket, or nil.
func (s *Socket) recovery() *recovery {
	if !s.conn.revision().recovers() {
		return nil
	}
	return s.nsp.local.recovery
}

// ID returns the socket's id: 20 characters that cannot be guessed. For clients of Socket.IO 2 it
// is SessionID; in other namespaces than the main one, the namespace's name and "#" come before it.
// See Options.AllowEIO3.
func (s *Socket) ID() string { return s.member.ID }

// Namespace returns the socket's namespace.
func (s *Socket) Namespace() *Namespace { return s.nsp }

// Connected reports whether the socket is connected.
func (s *Socket) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == connected
}

// Recovered reports whether the client lost its connection and came back to this socket, with the
// same rooms and data. See Options.Recovery.
func (s *Socket) Recovered() bool { return s.recovered }

// Transport returns the name of the current transport, TransportPolling and so on.
func (s *Socket) Transport() string { return s.conn.session.Transport() }

// SessionID returns the id of the connection, which all sockets of a client share. It is a secret
// between server and client: anyone who knows it can take over a connection that is not a
// WebSocket.
func (s *Socket) SessionID() string { return s.conn.session.ID() }

// own returns the socket's own handlers; they are made when first needed.
func (s *Socket) own() *handlers {
	if h := s.handlers.Load(); h != nil {
		return h
	}
	s.handlers.CompareAndSwap(nil, &handlers{srv: s.nsp.srv})
	return s.handlers.Load()
}

// On calls handler for each event with this name from this socket; see Namespace.On.
func (s *Socket) On(event string, handler Handler) *Registration { return s.own().On(event, handler) }

func (s *Socket) onCall(event string, handler Handler) *Registration {
	return s.own().onCall(event, handler)
}

// Once is like On, but only for the next event with this name.
func (s *Socket) Once(event string, handler Handler) *Registration {
	return s.own().Once(event, handler)
}

// Off removes all handlers of this event that were registered on this socket.
func (s *Socket) Off(event string) { s.own().Off(event) }

// OnAny calls handler for every event from this socket; see Namespace.OnAny.
func (s *Socket) OnAny(handler Handler) *Registration { return s.own().OnAny(handler) }

// OnAnyOutgoing calls f for each event sent to this socket; see Namespace.OnAnyOutgoing.
func (s *Socket) OnAnyOutgoing(f func(event string, args []json.RawMessage)) *Registration {
	return s.own().OnAnyOutgoing(f)
}

// UseEvent adds middleware for the events of this socket; see Namespace.UseEvent.
func (s *Socket) UseEvent(middleware Handler) *Registration { return s.own().UseEvent(middleware) }

// OnDisconnect calls f when this socket has disconnected; see Namespace.OnDisconnect.
func (s *Socket) OnDisconnect(f func(s *Socket, reason Reason)) *Registration {
	return s.own().OnDisconnect(f)
}

// OnError calls f with the errors and panics of this socket's handlers; see Namespace.OnError.
func (s *Socket) OnError(f func(s *Socket, err error)) *Registration { return s.own().OnError(f) }

// Join puts the socket into rooms. While middleware runs, it only records the rooms; the socket
// joins them when it is connected. The error is ErrTooManyRooms or ErrDisconnected.
//
// In a cluster, the first socket of this server in a room makes Join wait until this server receives
// what others send to the room, for one second at most.
func (s *Socket) Join(rooms ...string) error {
	pending, err := s.join(rooms)
	await(pending)
	return err
}

// join is Join without waiting for the cluster: that is pending.
func (s *Socket) join(rooms []string) (pending []<-chan struct{}, err error) {
	if early, err := s.joinEarly(rooms); early {
		return nil, err
	}
	pending = s.nsp.local.change(s, func(c *change) {
		for _, room := range rooms {
			joined, ok := c.join(room, s.nsp.srv.opts.MaxRooms)
			if !ok {
				err = ErrTooManyRooms
				return
			}
			if !joined && !s.Connected() {
				err = ErrDisconnected
			}
		}
	})
	return pending, err
}

// joinEarly records the rooms of a socket that has not entered yet. It reports false if the socket
// has entered.
func (s *Socket) joinEarly(rooms []string) (early bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.earlyLocked() {
		return false, nil
	}
	in := s.entrance
	for _, room := range rooms {
		switch limit := s.nsp.srv.opts.MaxRooms; {
		case room == s.ID() || slices.Contains(in.rooms, room):
		case limit > 0 && len(in.rooms) >= limit:
			return true, ErrTooManyRooms
		default:
			in.rooms = append(in.rooms, room)
		}
	}
	return true, nil
}

// Leave removes the socket from rooms.
func (s *Socket) Leave(rooms ...string) {
	s.mu.Lock()
	early := s.earlyLocked()
	if early {
		in := s.entrance
		in.rooms = slices.DeleteFunc(in.rooms, func(room string) bool { return slices.Contains(rooms, room) })
	}
	s.mu.Unlock()
	if early {
		return
	}
	s.nsp.local.change(s, func(c *change) {
		for _, room := range rooms {
			c.leave(room)
		}
	})
}

// tell calls a handler whose result does not matter. If it panics, the panic is only logged. If
// tell called OnError, that handler could itself do what f listens to, and the loop would never
// end.
func (s *Socket) tell(event string, f func()) {
	if err := guard(func() error { f(); return nil }); err != nil {
		s.nsp.srv.logHandlerError(s, event, err)
	}
}

// Rooms returns the rooms that the socket is in, including its own. After a disconnect, it returns
// those that the socket was in.
func (s *Socket) Rooms() []string {
	s.mu.Lock()
	left := s.left
	if s.earlyLocked() {
		left = append([]string{}, s.entrance.rooms...)
	}
	s.mu.Unlock()
	if left != nil {
		return left
	}
	return s.member.Rooms()
}

// InRoom reports whether the socket is in the room.
func (s *Socket) InRoom(room string) bool {
	s.mu.Lock()
	early := s.earlyLocked() && slices.Contains(s.entrance.rooms, room)
	s.mu.Unlock()
	return early || s.member.In(room)
}

// To selects the sockets in the rooms, except this one.
func (s *Socket) To(rooms ...string) *Broadcast { return s.nsp.To(rooms...).Except(s.ID()) }

// In is the same as To.
func (s *Socket) In(rooms ...string) *Broadcast { return s.To(rooms...) }

// Broadcast selects all sockets of the namespace except this one.
func (s *Socket) Broadcast() *Broadcast { return s.nsp.Except(s.ID()) }

// Except selects all sockets of the namespace except this one and those in the rooms.
func (s *Socket) Except(rooms ...string) *Broadcast { return s.Broadcast().Except(rooms...) }

// Volatile selects this socket, for events that are dropped if they cannot be sent at once; see
// Broadcast.Volatile. Volatile().To selects other sockets, as To does.
func (s *Socket) Volatile() *Broadcast { return s.alone().Volatile() }

// Compress selects this socket, as Volatile does; see Broadcast.Compress.
func (s *Socket) Compress(compress bool) *Broadcast { return s.alone().Compress(compress) }

// Timeout selects this socket, as Volatile does; see Broadcast.Timeout. To ask only this socket,
// use Socket.EmitWithAck: its error tells you whether the client is gone or just did not answer.
func (s *Socket) Timeout(d time.Duration) *Broadcast { return s.alone().Timeout(d) }

// Local selects all sockets of this process except this one; see Broadcast.Local.
func (s *Socket) Local() *Broadcast { return s.Broadcast().Local() }

func (s *Socket) alone() *Broadcast { return &Broadcast{nsp: s.nsp, selection: selection{self: s}} }

// Emit sends an event to the client. It does not wait for the client. Middleware may emit too: the
// client receives the event when it is connected. Emit returns an error if it cannot encode the
// arguments, or ErrDisconnected.
func (s *Socket) Emit(event string, args ...any) error {
	return s.alone().Emit(event, args...)
}

// emit sends an event that was encoded for this socket only.
func (s *Socket) emit(e *Encoded, volatile bool) error {
	if r := s.recovery(); r != nil {
		return r.emit(s, e, volatile)
	}
	if s.gone() || !s.send(e, volatile) && !volatile {
		return ErrDisconnected
	}
	return nil
}

// Send sends an event that Namespace.Encode has encoded. The error is ErrDisconnected, or
// ErrWrongNamespace if e was encoded for another namespace.
func (s *Socket) Send(e *Encoded) error {
	switch {
	case e.nsp != s.nsp:
		return ErrWrongNamespace
	case s.gone() || !s.send(e, false):
		return ErrDisconnected
	}
	return nil
}

// Drain waits until everything that is queued on the client's connection has been sent, for all of
// its sockets: the bytes have been written to the kernel or sent as the response to a poll. Use it
// to send a lot without a long queue. The error is ErrDisconnected if the socket disconnects first,
// or ctx's error.
func (s *Socket) Drain(ctx context.Context) error {
	s.release()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.Context(), cancel)()
	err := s.conn.session.Drained(waiting, 0)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil || s.gone():
		return ErrDisconnected
	}
	return nil
}

// Behind reports whether the client has yet to receive so much that it is better not to send it
// more now, if that can be sent later: over a quarter of Options.MaxOutbox is queued on its
// connection, or 16 KiB while the server holds over half of Options.MaxMemory.
func (s *Socket) Behind() bool { return s.conn.session.Behind() }

// WhenDrained calls f once, when everything that is queued now on the client's connection has been
// sent (see Drain), or when the connection has ended. The call is made on a goroutine of its own,
// which does not exist before.
func (s *Socket) WhenDrained(f func()) { s.conn.session.WhenDrained(f) }

// gone reports whether the socket has disconnected.
func (s *Socket) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == disconnected
}

// send queues e for the client and calls OnAnyOutgoing handlers. A volatile event may be dropped.
func (s *Socket) send(e *Encoded, volatile bool) bool {
	sent := s.transmit(e, volatile)
	if sent {
		s.sent(e)
	}
	return sent
}

// transmit is send without calling handlers.
func (s *Socket) transmit(e *Encoded, volatile bool) bool {
	if s.entering.Load() {
		if handled, held := s.hold(e, volatile); handled {
			return held
		}
	}
	send := s.conn.session.Send
	if volatile {
		send = s.conn.session.SendVolatile
	}
	if !send(e.messages...) {
		return false
	}
	s.nsp.srv.stats.packetsOut.Add(1)
	return true
}

// sent calls the OnAnyOutgoing handlers, if there are any.
func (s *Socket) sent(e *Encoded) {
	if e.args != nil {
		for _, t := range s.tables() {
			for _, f := range t.outgoing {
				s.tell(e.event, func() { f.call(e.event, e.args) })
			}
		}
	}
}

// Disconnect disconnects the socket, or all sockets of its client if closeConnection is true.
// Events that the client has sent but no handler has started on are dropped. The client does not
// reconnect automatically.
func (s *Socket) Disconnect(closeConnection bool) {
	if !closeConnection {
		s.disconnect()
		return
	}
	for _, other := range s.conn.sockets() {
		other.disconnect()
	}
	s.conn.session.Close()
}

// disconnect ends the socket and tells the client, which then does not reconnect automatically.
func (s *Socket) disconnect() {
	if s.Connected() {
		s.expel(nil)
	}
}

// expel is disconnect for a socket that may not be connected yet. Its client is then refused with err.
func (s *Socket) expel(err error) {
	s.dismiss()
	// The seat is free before the client is told, since it may ask again at once. Of several calls,
	// one frees it.
	if !s.conn.unseat(s) {
		return
	}
	switch s.close(ServerNamespaceDisconnect) {
	case connecting:
		s.conn.refuse(s.nsp.name, err)
	case connected:
		s.conn.session.Send(s.nsp.encodeControl(sio.Disconnect, nil).messages...)
	}
}

// dismiss sends what was held for the client. Events that are still in the inbox will not be
// handled.
func (s *Socket) dismiss() {
	s.release()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dismissed = true
}

// CloseConnection sends what is queued, then closes the connection of the socket's client. All of
// its sockets disconnect with ForcedClose, and the client reconnects automatically. Events that the
// client has sent but no handler has started on are dropped.
func (s *Socket) CloseConnection() { s.conn.close() }

// close ends the socket for the given reason, in any state. It returns the state before.
func (s *Socket) close(reason Reason) (before socketState) {
	s.mu.Lock()
	before = s.state
	if before == disconnected {
		s.mu.Unlock()
		return before
	}
	s.state = disconnected
	if s.done != nil {
		close(s.done)
	}
	acks, after := s.acks, s.after
	s.acks, s.after = nil, nil
	if s.entrance != nil {
		stop(&s.entrance.timer)
		s.entrance = nil
		s.entering.Store(false)
	}
	s.mu.Unlock()

	for _, f := range after {
		go (*f)()
	}
	s.nsp.srv.proofs.forget(s.proof)
	s.conn.unseat(s)
	for _, f := range acks {
		f(payload{}, ErrDisconnected)
	}
	s.conn.pressure(0, -len(acks))
	r, kept := s.recovery(), false
	switch {
	case before == connected:
		s.nsp.local.change(s, func(c *change) {
			if r != nil {
				kept = r.leaveLocked(s, reason)
			}
			left := c.remove()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.left = left
		})
		s.nsp.srv.stats.disconnected(reason)
		s.push(task{run: func() { s.runDisconnect(reason) }})
	case r != nil:
		r.disclaim(s)
	}
	if !kept {
		s.nsp.srv.release(s.nsp)
	}
	return before
}

func (s *Socket) runDisconnect(reason Reason) {
	s.logDisconnected(reason)
	for _, t := range s.tables() {
		for _, f := range t.disconnect {
			if err := guard(func() error { f.call(s, reason); return nil }); err != nil {
				s.report("disconnect", nil, err)
			}
		}
	}
	if r := s.recovery(); r != nil {
		r.done(s)
	}
}
