package parley

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/parley-go/parley/internal/sio"
)

// Binary is binary data within an argument: a field, element or map value of this type
// travels as binary. An argument that is itself binary may be a plain []byte.
type Binary = sio.Binary

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

func (p *payload) raw() []json.RawMessage {
	elements := p.elements(nil)
	args := make([]json.RawMessage, len(elements))
	for i, e := range elements {
		args[i] = e
	}
	return args
}

func (p *payload) decode(into []any) error {
	var few [4][]byte
	for i, raw := range p.elements(few[:0]) {
		if i == len(into) {
			break
		}
		if err := sio.Decode(raw, p.attachments, into[i]); err != nil {
			return &badPayload{argument: i, cause: err}
		}
	}
	return nil
}

func (p *payload) values() ([]any, error) {
	elements := p.elements(nil)
	values := make([]any, len(elements))
	for i, raw := range elements {
		if err := sio.Decode(raw, p.attachments, &values[i]); err != nil {
			return nil, &badPayload{argument: i, cause: err}
		}
	}
	return values, nil
}

// badPayload is an argument that is not of the type it should be.
type badPayload struct {
	argument int
	cause    error
}

func (e *badPayload) Error() string {
	return fmt.Sprintf("parley: argument %d: %v", e.argument+1, e.cause)
}

func (e *badPayload) Unwrap() error { return e.cause }

// As lets a handler return it as it is: the client is told which argument is at fault.
func (e *badPayload) As(target any) bool {
	t, ok := target.(**Error)
	if ok {
		*t = &Error{Code: CodeBadPayload, Message: fmt.Sprintf("argument %d does not have the expected type", e.argument+1)}
		var mismatch *json.UnmarshalTypeError
		if errors.As(e.cause, &mismatch) && mismatch.Field != "" {
			(*t).Message += ": " + mismatch.Field
		}
	}
	return ok
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
func (p *Packet) Decode(into ...any) error { return p.payload.decode(into) }

// Values returns the arguments decoded as encoding/json decodes into an any, and binary data
// as Binary: what Emit takes again.
func (p *Packet) Values() ([]any, error) { return p.payload.values() }

// WantsAck reports whether the client asks for an acknowledgement and has not got one.
func (p *Packet) WantsAck() bool { return p.id >= 0 && !p.acked.Load() }

// Ack acknowledges the event, if the client asks for that. It returns ErrAcknowledged the
// second time, ErrDisconnected when the client is gone.
func (p *Packet) Ack(args ...any) error {
	if p.id < 0 {
		return nil
	}
	if p.acked.Load() {
		return ErrAcknowledged
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
type Reply struct{ payload payload }

// Err returns an *Error if the client has refused the event, and nil otherwise. A refusal is
// one argument, an object whose only member is "error", and that an object in which "code" and
// "message" are strings.
func (r Reply) Err() error {
	args := r.payload.elements(nil)
	if len(args) != 1 || !bytes.HasPrefix(bytes.TrimLeft(args[0], " \t\r\n"), []byte("{")) {
		return nil
	}
	var members map[string]json.RawMessage
	var e struct {
		Code, Message *string
		Data          any
	}
	if json.Unmarshal(args[0], &members) != nil || len(members) != 1 || members["error"] == nil ||
		sio.Decode(members["error"], r.payload.attachments, &e) != nil || e.Code == nil || e.Message == nil {
		return nil
	}
	return &Error{Code: *e.Code, Message: *e.Message, Data: e.Data}
}

// Args returns the reply's arguments as raw JSON; see Packet.Args.
func (r Reply) Args() []json.RawMessage { return r.payload.raw() }

// Decode decodes the first arguments into the given pointers; see Packet.Decode. If the client
// has refused the event it returns the *Error and decodes nothing.
func (r Reply) Decode(into ...any) error {
	if err := r.Err(); err != nil {
		return err
	}
	return r.payload.decode(into)
}

// Values returns the decoded arguments; see Packet.Values. A refusal is returned as an *Error.
func (r Reply) Values() ([]any, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	return r.payload.values()
}
