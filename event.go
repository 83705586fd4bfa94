package parley

import (
	"context"
	"time"
)

// Emitter is what events are emitted to: a *Server, a *Namespace, a *Broadcast (a choice of
// rooms) or a *Socket.
type Emitter interface {
	// Emit sends an event. The arguments are encoded as by encoding/json; a []byte, and a
	// Binary at any depth, travels as binary. The error is about encoding them, or
	// ErrDisconnected.
	Emit(event string, args ...any) error
}

// Listener is what handlers are registered on: a *Server or *Namespace, for all of its
// sockets, or one *Socket.
type Listener interface {
	// On calls h for each event of that name.
	On(event string, h Handler) *Registration
}

// Handler handles one event. See the package comment for what becomes of its error.
type Handler func(*Packet) error

// Event describes an event with one argument of type T. It is a constant or a package-level
// variable:
//
//	const NewMessage = parley.Event[Message]("newMessage")
type Event[T any] string

// None is the argument of an event without arguments, or the empty result of an RPC.
type None struct{}

// Emit sends the event to all that to stands for.
func (e Event[T]) Emit(to Emitter, v T) error {
	return to.Emit(string(e), arguments(v)...)
}

// On has h called for the event. If the argument is not a T, the client is answered with
// the code CodeBadPayload and h is not called. A missing argument is the zero T.
func (e Event[T]) On(l Listener, h func(ctx context.Context, s *Socket, v T) error) {
	l.On(string(e), func(p *Packet) error {
		var v T
		if err := p.Decode(&v); err != nil {
			return err
		}
		return h(p.Context(), p.Socket(), v)
	})
}

// RPC describes an event with one argument of type Q that is answered with a value of type
// R, as an acknowledgement.
type RPC[Q, R any] string

// Handle has h called for the event and answers with what it returns: the result, or the
// error (see Error). A client that asks for no acknowledgement gets none.
func (e RPC[Q, R]) Handle(l Listener, h func(ctx context.Context, s *Socket, q Q) (R, error)) {
	l.On(string(e), func(p *Packet) error {
		var q Q
		if err := p.Decode(&q); err != nil {
			return err
		}
		r, err := h(p.Context(), p.Socket(), q)
		if err != nil || !p.WantsAck() {
			return err
		}
		return p.Ack(arguments(r)...)
	})
}

// Call sends the event to one client and waits for its answer. If the context has no
// deadline it may wait as long as the client is connected. The error is ErrTimeout,
// ErrDisconnected, the context's, an *Error if the client has refused, or about the answer's
// type.
func (e RPC[Q, R]) Call(ctx context.Context, s *Socket, q Q) (R, error) {
	var r R
	reply, err := s.EmitWithAck(ctx, string(e), arguments(q)...)
	if err != nil {
		return r, err
	}
	return r, reply.Decode(&r)
}

// Answer is one client's answer to a Broadcast.
type Answer[R any] struct {
	Value R
	Err   error // an *Error if the client has refused; or the answer is not an R
}

// CallAll sends the event to all that to stands for and waits until each has answered or
// timeout is over. The answers that came in time are returned in any case; the error is
// ErrTimeout if some did not.
func (e RPC[Q, R]) CallAll(ctx context.Context, to *Broadcast, timeout time.Duration, q Q) ([]Answer[R], error) {
	replies, err := to.Timeout(timeout).EmitWithAck(ctx, string(e), arguments(q)...)
	answers := make([]Answer[R], len(replies))
	for i, reply := range replies {
		answers[i].Err = reply.Decode(&answers[i].Value)
	}
	return answers, err
}

func arguments(v any) []any {
	if _, none := v.(None); none {
		return nil
	}
	return []any{v}
}
