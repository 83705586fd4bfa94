package client

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"

	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/sio"
)

// Packet is an event of the server. Its arguments are decoded only when you ask for them. It is safe for
// concurrent use, and you may keep it and acknowledge it later.
type Packet struct {
	client      *Client
	link        *link
	ctx         context.Context
	data        []byte
	attachments [][]byte
	id          int64 // of the acknowledgement; -1: none is wanted
	acked       atomic.Bool
}

// size is what the packet counts for while it waits, in bytes.
func (p *Packet) size() int {
	n := len(p.data) + 200
	for _, a := range p.attachments {
		n += len(a)
	}
	return n
}

// Client returns the client that has received the event.
func (p *Packet) Client() *Client { return p.client }

// Context ends when the connection does over which the event came.
func (p *Packet) Context() context.Context { return p.ctx }

// Name returns the event's name.
func (p *Packet) Name() string { return string(sio.EventName(p.data)) }

// Args returns the arguments as raw JSON, in which binary data is a placeholder. Do not change them.
func (p *Packet) Args() []json.RawMessage { return sio.RawArgs(sio.EventArgs(nil, p.data)) }

// Decode decodes the first arguments into the given pointers, as encoding/json does. []byte and
// event.Binary accept binary data. If an argument is missing, its variable stays unchanged.
func (p *Packet) Decode(into ...any) error {
	return sio.DecodeArgs(sio.EventArgs(nil, p.data), p.attachments, into)
}

// DecodeArg decodes the argument with index i, from 0, into a pointer. A missing argument is an error.
func (p *Packet) DecodeArg(i int, into any) error {
	return sio.DecodeArg(sio.EventArgs(nil, p.data), p.attachments, i, into)
}

// Values returns the arguments decoded as encoding/json decodes into an any, with binary data as
// event.Binary.
func (p *Packet) Values() ([]any, error) {
	return sio.ArgValues(sio.EventArgs(nil, p.data), p.attachments)
}

// WantsAck reports whether the server asked for an acknowledgement and has not received one.
func (p *Packet) WantsAck() bool { return p.id >= 0 && !p.acked.Load() }

// Ack acknowledges the event, if the server asked for that. The second call returns ErrAcknowledged. If the
// connection over which the event came is lost, it returns ErrDisconnected. After ErrTooLarge and
// ErrBufferFull, which Emit returns too, you may acknowledge it in another way. If the only argument is an
// error, the server gets a refusal, as if the handler had returned it.
func (p *Packet) Ack(args ...any) error {
	if p.acked.Load() {
		return ErrAcknowledged
	}
	if p.id < 0 {
		return nil
	}
	if len(args) == 1 {
		if err, ok := args[0].(error); ok {
			var known *event.Error
			if !errors.As(err, &known) {
				known = &event.Error{Code: event.CodeInternal, Message: "the client failed"}
			}
			args = []any{event.Refusal{Error: known}}
		}
	}
	o, err := p.client.encode(sio.Ack, p.id, "", args)
	if err != nil {
		return err
	}
	if p.acked.Swap(true) {
		return ErrAcknowledged
	}
	err = p.client.reply(p.link, o)
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrBufferFull) {
		p.acked.Store(false) // the server still waits
	}
	return err
}
