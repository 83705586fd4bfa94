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

// Packet is one event that a client has sent. Its arguments stay as they came until they
// are asked for. It is safe for concurrent use and may be kept, to be acknowledged later.
type Packet struct {
	socket  *Socket
	payload payload
	id      int64 // of the acknowledgement, -1 if none is wanted
	acked   atomic.Bool
}

// payload is the array of an event or acknowledgement, with what its placeholders stand
// for.
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

// badPayload is an argument of an event that is not what its handler wants.
type badPayload struct{ *sio.ArgError }

// As lets a handler return it as it is: the client is told which argument is at fault.
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

// asBadPayload turns an error about an argument into a badPayload.
func asBadPayload(err error) error {
	if e, ok := err.(*sio.ArgError); ok {
		return badPayload{e}
	}
	return err
}

// Socket returns the socket that the event came from.
func (p *Packet) Socket() *Socket { return p.socket }

// Context returns the socket's context: it ends when the socket disconnects.
func (p *Packet) Context() context.Context { return p.socket.Context() }

// Name returns the event's name.
func (p *Packet) Name() string { return string(sio.EventName(p.payload.data)) }

// Args returns the arguments as raw JSON, in which binary data is a placeholder; Decode and
// Values put the data in. They share memory with the packet and must not be changed.
func (p *Packet) Args() []json.RawMessage { return p.payload.raw() }

// Decode decodes the first arguments into the given pointers, as by encoding/json; []byte
// and Binary take binary data. Arguments that are missing leave their pointer's value as
// it is, and those in excess are ignored. A handler may return the error: it is
// answered with CodeBadPayload.
func (p *Packet) Decode(into ...any) error {
	var few [4][]byte
	return asBadPayload(sio.DecodeArgs(p.payload.elements(few[:0]), p.payload.attachments, into))
}

// DecodeArg decodes the argument with the index i, from 0, into a pointer, as Decode does. A missing
// argument is an error, too.
func (p *Packet) DecodeArg(i int, into any) error {
	var few [4][]byte
	return asBadPayload(sio.DecodeArg(p.payload.elements(few[:0]), p.payload.attachments, i, into))
}

// Values returns the arguments decoded as encoding/json decodes into an any, and binary data
// as Binary: what Emit takes again.
func (p *Packet) Values() ([]any, error) {
	values, err := sio.ArgValues(p.payload.elements(nil), p.payload.attachments)
	return values, asBadPayload(err)
}

// WantsAck reports whether the client asks for an acknowledgement and has not got one.
func (p *Packet) WantsAck() bool { return p.id >= 0 && !p.acked.Load() }

// Ack acknowledges the event, if the client asks for that. It returns ErrAcknowledged the
// second time, ErrDisconnected when the client is gone. If the only argument is an error, Ack
// is Fail: the event is refused, as if the handler had returned the error.
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
	// Encoded first: if that fails, or panics, there is an error still to be answered.
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

// Fail does what a handler's error does, for one that returned before it knew: the client is
// answered with the error, and OnError is told.
func (p *Packet) Fail(err error) { p.socket.report(p.Name(), p, err) }

// Reply is what a client has acknowledged an event with.
type Reply = event.Reply

func newReply(p payload) Reply { return event.NewReply(p.data, p.attachments...) }
