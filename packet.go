package parley

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/sio"
)

// Packet is one event from a client. Its arguments are decoded only when you ask for them. It is
// safe for concurrent use. You may keep it and acknowledge it later.
type Packet struct {
	socket  *Socket
	payload payload
	id      int64 // of the acknowledgement; -1 if the client wants none
	acked   atomic.Bool
}

// payload is the JSON array of an event or acknowledgement, with the attachments that its
// placeholders refer to.
type payload struct {
	data        []byte
	attachments [][]byte
	event       bool // the first element is the event's name
}

// elements appends the arguments to dst.
func (p *payload) elements(dst [][]byte) [][]byte {
	if p.event {
		return sio.EventArgs(dst, p.data)
	}
	return sio.SplitArgs(dst, p.data)
}

func (p *payload) raw() []json.RawMessage { return sio.RawArgs(p.elements(nil)) }

func (p *payload) decode(into []any) error {
	var few [4][]byte
	return asBadPayload(sio.DecodeArgs(p.elements(few[:0]), p.attachments, into))
}

func (p *payload) decodeArg(i int, into any) error {
	var few [4][]byte
	return asBadPayload(sio.DecodeArg(p.elements(few[:0]), p.attachments, i, into))
}

func (p *payload) values() ([]any, error) {
	values, err := sio.ArgValues(p.elements(nil), p.attachments)
	return values, asBadPayload(err)
}

// badPayload is the error for an argument that does not have the type that its handler expects.
type badPayload struct{ *sio.ArgError }

// As lets a handler return the error unchanged: the client then learns which argument is wrong.
func (e badPayload) As(target any) bool {
	t, ok := target.(**Error)
	if ok {
		*t = &Error{Code: CodeBadPayload, Message: fmt.Sprintf("argument %d does not have the expected type", e.Index+1)}
		var mismatch *json.UnmarshalTypeError
		if e.Missing() {
			(*t).Message = fmt.Sprintf("argument %d is missing", e.Index+1)
		} else if errors.As(e.Err, &mismatch) && mismatch.Field != "" {
			(*t).Message += ": " + mismatch.Field
		}
	}
	return ok
}

// asBadPayload converts an error about an argument into a badPayload.
func asBadPayload(err error) error {
	if e, ok := err.(*sio.ArgError); ok {
		return badPayload{e}
	}
	return err
}

// Socket returns the socket that received the event.
func (p *Packet) Socket() *Socket { return p.socket }

// Context returns the socket's context, which ends when the socket disconnects.
func (p *Packet) Context() context.Context { return p.socket.Context() }

// Name returns the event's name.
func (p *Packet) Name() string { return string(sio.EventName(p.payload.data)) }

// Args returns the arguments as raw JSON, in which binary data is a placeholder; Decode and Values
// fill in the data. The arguments share memory with the packet, so do not change them.
func (p *Packet) Args() []json.RawMessage { return p.payload.raw() }

// Decode decodes the first arguments into the given pointers, as encoding/json does. []byte and
// Binary accept binary data. If an argument is missing, its variable stays unchanged; extra
// arguments are ignored. A handler may return the error: the client then receives CodeBadPayload.
func (p *Packet) Decode(into ...any) error {
	return p.payload.decode(into)
}

// DecodeArg decodes the argument with index i, from 0, into a pointer, as Decode does. Here, a
// missing argument is an error too.
func (p *Packet) DecodeArg(i int, into any) error {
	return p.payload.decodeArg(i, into)
}

// Values returns the arguments decoded as encoding/json decodes into an any, with binary data as
// Binary. You can pass them to Emit.
func (p *Packet) Values() ([]any, error) {
	return p.payload.values()
}

// WantsAck reports whether the client asked for an acknowledgement and has not received one.
func (p *Packet) WantsAck() bool { return p.id >= 0 && !p.acked.Load() }

// Ack acknowledges the event if the client asked for it. The second call returns ErrAcknowledged.
// If the client is gone, Ack returns ErrDisconnected. If the only argument is an error, Ack does
// the same as Fail, as if the handler had returned that error.
func (p *Packet) Ack(args ...any) error {
	if p.acked.Load() {
		return ErrAcknowledged
	}
	if len(args) == 1 {
		if err, ok := args[0].(error); ok {
			p.Fail(err)
			return nil
		}
	}
	if p.id < 0 {
		return nil
	}
	// Encode first: if that fails or panics, the client can still receive an error.
	e, err := p.socket.nsp.encode(sio.Ack, p.id, "", args)
	if err != nil {
		return err
	}
	if p.acked.Swap(true) {
		return ErrAcknowledged
	}
	if !p.socket.Connected() || !p.socket.send(e, false) {
		return ErrDisconnected
	}
	return nil
}

// Fail reports an error after the handler has returned, as if the handler had returned it: the
// client receives the error as acknowledgement, and OnError is called.
func (p *Packet) Fail(err error) { p.socket.report(p.Name(), p, err) }

// Reply is a client's acknowledgement of an event.
type Reply = event.Reply

func newReply(p payload) Reply { return event.NewReply(p.data, p.attachments...) }
