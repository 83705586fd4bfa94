package parley

import (
	"encoding/json"
	"fmt"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// Encoded is an event that is already encoded for one namespace, including its frame. It is
// immutable and safe for concurrent use.
type Encoded struct {
	nsp      *Namespace
	messages []*engine.Message
	// For OnAnyOutgoing handlers, if there are any.
	event string
	args  []json.RawMessage

	// The usual content of messages, so that everything is a single allocation.
	first engine.Message
	one   [1]*engine.Message
}

// Encode encodes an event once. You can then send it with Socket.Send to sockets of this namespace
// at different times. Connection state recovery does not cover such events: a client that misses
// one does not receive it when it comes back. If Options.Recovery is set, the last argument must
// not be a string, because clients would take it for an offset.
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
		// This header assumes that there are no attachments. If there are some, the arguments are
		// copied behind a new header.
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

// argsSize estimates the encoded size of a header and the arguments.
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

// firstMessage builds the first message of e from buf; see engine.NewMessage.
func (e *Encoded) firstMessage(buf []byte, binary bool) {
	e.first.Init(buf, binary)
	e.one[0] = &e.first
	e.messages = e.one[:]
}

// render builds the messages for p, whose namespace it sets: one message, plus one for each
// attachment if the parser needs that.
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
			// Copied, because the caller may change its bytes after Emit returns.
			b := append(make([]byte, engine.Headroom, engine.Headroom+len(a)), a...)
			e.messages = append(e.messages, engine.NewMessage(b, true))
		}
	}
	return nil
}

// encodeControl builds the message of a packet that is neither an event nor an acknowledgement.
func (n *Namespace) encodeControl(t sio.Type, data []byte) *Encoded {
	e := &Encoded{nsp: n}
	if err := e.render(&sio.Packet{Type: t, ID: -1, Data: data}); err != nil {
		panic(err) // we built the packet ourselves
	}
	return e
}

// uncompressed forbids compression. Nobody else may know e yet.
func (e *Encoded) uncompressed() {
	for _, m := range e.messages {
		m.Uncompressed()
	}
}

// size is the number of bytes that e counts for in an outbox.
func (e *Encoded) size() int {
	size := 0
	for _, m := range e.messages {
		size += m.Size()
	}
	return size
}
