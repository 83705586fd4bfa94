package parley

import (
	"encoding/json"
	"fmt"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// Encoded is an event of one namespace that is encoded already, frame included. It is
// immutable and safe for concurrent use.
type Encoded struct {
	nsp      *Namespace
	messages []*engine.Message
	// For those who listen to all outgoing events, if there are any.
	event string
	args  []json.RawMessage

	// What messages consists of as a rule: so all of it is one allocation.
	first engine.Message
	one   [1]*engine.Message
}

// Encode encodes an event once. You may then send it with Socket.Send to sockets of this
// namespace at different times. Connection state recovery does not know of such events: a client
// that misses one does not get it when it comes back. If the server has Options.Recovery, the last
// argument must not be a string, which clients would take for an offset.
func (n *Namespace) Encode(event string, args ...any) (*Encoded, error) {
	if err := checkEvent(event); err != nil {
		return nil, err
	}
	return n.encode(sio.Event, -1, event, args)
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
	e := &Encoded{nsp: n, event: event}
	if t == sio.Event && n.srv.listened.Load() {
		raw := payload{data: b[head:], event: true}
		e.args = raw.raw()
	}
	if !parser.Binary() && len(attachments) == 0 {
		e.firstMessage(b, false)
		return e, nil
	}
	return e, e.render(&sio.Packet{Type: t, ID: id, Data: b[head:], Attachments: attachments})
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

// firstMessage makes the first message of e from buf; see engine.NewMessage.
func (e *Encoded) firstMessage(buf []byte, binary bool) {
	e.first.Init(buf, binary)
	e.one[0] = &e.first
	e.messages = e.one[:]
}

// render makes what is sent for p, which lacks its namespace: a message, and one more for
// each attachment where the parser wants that.
func (e *Encoded) render(p *sio.Packet) error {
	p.Namespace = e.nsp.name
	parser := e.nsp.srv.opts.Parser.parser
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
	e := &Encoded{nsp: n}
	if err := e.render(&sio.Packet{Type: t, ID: -1, Data: data}); err != nil {
		panic(err) // the packet is ours
	}
	return e
}

// size is how many bytes e counts for in an outbox.
func (e *Encoded) size() int {
	size := 0
	for _, m := range e.messages {
		size += m.Size()
	}
	return size
}
