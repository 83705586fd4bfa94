package parley

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/rooms"
	"github.com/parley-go/parley/internal/sio"
)

// Namespace is a set of sockets, with rooms and handlers of its own, that shares its
// clients' connections with other namespaces. It is safe for concurrent use.
type Namespace struct {
	*Handlers
	srv      *Server
	name     string
	index    *rooms.Index[*Socket]
	ackIDs   atomic.Int64
	recovery *recovery // nil: off

	// Guarded by srv.mu.
	refs   int  // sockets, those that are connecting included
	child  bool // made by a ParentNamespace
	pinned bool // asked for by Server.Of
}

func newNamespace(srv *Server, name string, h *Handlers) *Namespace {
	n := &Namespace{Handlers: h, srv: srv, name: name, index: rooms.New[*Socket]()}
	if o := srv.opts.Recovery; o != nil {
		n.recovery = newRecovery(o)
	}
	return n
}

// Name returns the namespace's name, slash included.
func (n *Namespace) Name() string { return n.name }

// Socket returns the connected socket with the id, or nil.
func (n *Namespace) Socket(id string) *Socket {
	s, _ := n.index.Get(id)
	return s
}

// Count returns how many sockets are connected.
func (n *Namespace) Count() int { return n.index.Len() }

// Emit sends an event to all sockets of the namespace.
func (n *Namespace) Emit(event string, args ...any) error {
	return (&Broadcast{nsp: n}).Emit(event, args...)
}

// To chooses the sockets that are in any of the rooms. Each socket is in the room that is
// named by its id.
func (n *Namespace) To(rooms ...string) *Broadcast { return (&Broadcast{nsp: n}).To(rooms...) }

// In is To.
func (n *Namespace) In(rooms ...string) *Broadcast { return n.To(rooms...) }

// All chooses all sockets; it is where chains without To begin:
// n.All().Except("admins").Emit(…).
func (n *Namespace) All() *Broadcast { return &Broadcast{nsp: n} }

// Except chooses all sockets but those in any of the rooms.
func (n *Namespace) Except(rooms ...string) *Broadcast { return n.All().Except(rooms...) }

// Volatile chooses all sockets; see Broadcast.Volatile.
func (n *Namespace) Volatile() *Broadcast { return n.All().Volatile() }

// Local chooses all sockets of this process; see Broadcast.Local.
func (n *Namespace) Local() *Broadcast { return n.All().Local() }

// Compress chooses all sockets; see Broadcast.Compress.
func (n *Namespace) Compress(compress bool) *Broadcast { return n.All().Compress(compress) }

// Timeout chooses all sockets; see Broadcast.Timeout.
func (n *Namespace) Timeout(d time.Duration) *Broadcast { return n.All().Timeout(d) }

// FetchSockets returns all sockets; see Broadcast.FetchSockets.
func (n *Namespace) FetchSockets(ctx context.Context) ([]SocketInfo, error) {
	return n.All().FetchSockets(ctx)
}

// SocketsJoin has all sockets join rooms; see Broadcast.SocketsJoin.
func (n *Namespace) SocketsJoin(rooms ...string) error { return n.All().SocketsJoin(rooms...) }

// SocketsLeave has all sockets leave rooms.
func (n *Namespace) SocketsLeave(rooms ...string) { n.All().SocketsLeave(rooms...) }

// DisconnectSockets disconnects all sockets; see Socket.Disconnect.
func (n *Namespace) DisconnectSockets(closeConnection bool) {
	n.All().DisconnectSockets(closeConnection)
}

// Encode encodes an event once, to be sent with Socket.Send to sockets of this namespace at
// different times. Such events are not part of connection state recovery.
func (n *Namespace) Encode(event string, args ...any) (*Encoded, error) {
	if err := checkEvent(event); err != nil {
		return nil, err
	}
	return n.encode(sio.Event, -1, event, args)
}

// Encoded is an event that is encoded already. It is immutable and safe for concurrent
// use.
type Encoded struct {
	messages []*engine.Message
	// For those who listen to all outgoing events, if there are any.
	event string
	args  []json.RawMessage

	// What messages consists of as a rule: so all of it is one allocation.
	first engine.Message
	one   [1]*engine.Message
}

// firstMessage makes the first message of e from buf; see engine.NewMessage.
func (e *Encoded) firstMessage(buf []byte, binary bool) {
	e.first.Init(buf, binary)
	e.one[0] = &e.first
	e.messages = e.one[:]
}

func checkEvent(name string) error {
	if sio.Reserved(name) {
		return fmt.Errorf("parley: event name %q is reserved", name)
	}
	return nil
}

// encode encodes an event or an acknowledgement.
func (n *Namespace) encode(t sio.Type, id int64, event string, args []any) (*Encoded, error) {
	parser := n.srv.opts.Parser.parser
	b := make([]byte, engine.Headroom, engine.Headroom+len(n.name)+len(event)+argsSize(args))
	if !parser.Binary() {
		// The header in front of the arguments is right unless they turn out to have
		// attachments: then they are copied behind another one.
		b = sio.AppendHeader(b, t, 0, n.name, id)
	}
	head := len(b)
	var attachments [][]byte
	var err error
	if t == sio.Event {
		b, attachments, err = sio.AppendEventArgs(b, event, args)
	} else {
		b, attachments, err = sio.AppendArgs(b, args)
	}
	if err != nil {
		return nil, fmt.Errorf("parley: encode arguments: %w", err)
	}
	e := &Encoded{event: event}
	if t == sio.Event && n.srv.listened.Load() {
		raw := payload{data: b[head:], event: true}
		e.args = raw.raw()
	}
	if !parser.Binary() && len(attachments) == 0 {
		e.firstMessage(b, false)
		return e, nil
	}
	return e, n.render(e, &sio.Packet{Type: t, ID: id, Data: b[head:], Attachments: attachments})
}

// argsSize guesses how many bytes a header and the arguments will take.
func argsSize(args []any) int {
	size := 32
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			size += len(v)
		case json.RawMessage:
			size += len(v)
		case bool, int, int64, float64:
			size += 16
		default:
			size += 128
		}
	}
	return size
}

// render makes what is sent for p, which lacks its namespace: a message, and one more for
// each attachment where the parser wants that.
func (n *Namespace) render(e *Encoded, p *sio.Packet) error {
	p.Namespace = n.name
	parser := n.srv.opts.Parser.parser
	b, err := parser.Append(make([]byte, engine.Headroom, engine.Headroom+32+len(p.Data)), p)
	if err != nil {
		return fmt.Errorf("parley: encode packet: %w", err)
	}
	e.firstMessage(b, parser.Binary())
	if !parser.Binary() {
		for _, a := range p.Attachments {
			// Copied: the caller may change its bytes once Emit has returned.
			b := append(make([]byte, engine.Headroom, engine.Headroom+len(a)), a...)
			e.messages = append(e.messages, engine.NewMessage(b, true))
		}
	}
	return nil
}

// encodeControl makes the message of a packet that is neither an event nor an
// acknowledgement.
func (n *Namespace) encodeControl(t sio.Type, data []byte) *Encoded {
	e := &Encoded{}
	if err := n.render(e, &sio.Packet{Type: t, ID: -1, Data: data}); err != nil {
		panic(err) // the packet is ours
	}
	return e
}

// targets are reused between broadcasts.
var targets = sync.Pool{New: func() any { return new([]*Socket) }}

// deliver sends e to those that b chooses and tells those who listen.
func (n *Namespace) deliver(b *Broadcast, e *Encoded) {
	for _, s := range n.transmit(b, e) {
		s.sent(e)
	}
}

// transmit sends e to those that b chooses and calls no handler. It returns the sockets for
// which Socket.sent has somebody to tell.
func (n *Namespace) transmit(b *Broadcast, e *Encoded) (heard []*Socket) {
	buf := targets.Get().(*[]*Socket)
	chosen := b.choose((*buf)[:0])
	for _, s := range chosen {
		if s.transmit(e, b.volatile) && e.args != nil {
			heard = append(heard, s)
		}
	}
	clear(chosen)
	*buf = chosen
	targets.Put(buf)
	return heard
}
