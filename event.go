package parley

import (
	"context"
	"errors"

	"github.com/parley-go/parley/event"
)

// Descriptors of events. They come from package event, which clients can share.
type (
	// Event describes an event with one argument of type T. Declare it as a constant or a
	// package-level variable. Event.Emit sends the event, and On registers a handler for it.
	//
	//	const NewMessage = parley.Event[Message]("newMessage")
	Event[T any] = event.Event[T]

	// Event2 describes an event with two arguments. Event2.Emit sends the event, and On2 registers
	// a handler for it.
	Event2[A, B any] = event.Event2[A, B]

	// RPC describes an event with one argument of type Q, whose acknowledgement is a value of type
	// R. RPC.Call and RPC.CallAll call clients, and Handle answers calls from clients.
	RPC[Q, R any] = event.RPC[Q, R]

	// None is the argument type of an event without arguments, or the result type of an RPC without
	// a result.
	None = event.None

	// Binary is binary data inside an argument: a field, element or map value of this type is sent
	// as binary. If the argument itself is binary, it may be a plain []byte. See event.Binary.
	Binary = event.Binary

	// Answer is one client's answer to RPC.CallAll.
	Answer[R any] = event.Answer[R]

	// Emitter is what you emit events to: a *Server, *Namespace, *Broadcast (a selection of
	// sockets) or *Socket.
	Emitter = event.Emitter
)

// Listener is where you register handlers: on a *Server, *Namespace or *ParentNamespace for all of
// its sockets, or on one *Socket.
type Listener interface {
	// On calls h for each event of that name.
	On(event string, h Handler) *Registration
	// onCall is like On, for the single handler that answers the event.
	onCall(event string, h Handler) *Registration
}

// Handler handles one event. The package comment says what happens to its error.
type Handler func(*Packet) error

// On calls h for each event e that a client sends. ctx ends when the socket disconnects. If the
// argument is missing or is not a T, h is not called, and the client receives an error with the
// code CodeBadPayload. If T is None, the event needs no argument.
func On[T any](l Listener, e Event[T], h func(ctx context.Context, s *Socket, v T) error) *Registration {
	mustNotBeNil(string(e), h == nil)
	return l.On(string(e), func(p *Packet) error {
		v, err := e.Decode(p)
		if err != nil {
			return err
		}
		return h(p.Context(), p.Socket(), v)
	})
}

// On2 is like On, for an event with two arguments. Both must be present.
func On2[A, B any](l Listener, e Event2[A, B], h func(ctx context.Context, s *Socket, a A, b B) error) *Registration {
	mustNotBeNil(string(e), h == nil)
	return l.On(string(e), func(p *Packet) error {
		a, b, err := e.Decode(p)
		if err != nil {
			return err
		}
		return h(p.Context(), p.Socket(), a, b)
	})
}

// Handle calls h for each event e that a client sends, as On does. It answers with h's result, or
// with its error (see Error). If the client does not ask for an acknowledgement, the result is
// dropped. Handle panics if l already has a handler for the same RPC, because an event has one
// answer.
func Handle[Q, R any](l Listener, e RPC[Q, R], h func(ctx context.Context, s *Socket, q Q) (R, error)) *Registration {
	mustNotBeNil(string(e), h == nil)
	return l.onCall(string(e), func(p *Packet) error {
		q, err := e.Decode(p)
		if err != nil {
			return err
		}
		r, err := h(p.Context(), p.Socket(), q)
		if err != nil || !p.WantsAck() {
			return err
		}
		return p.Ack(event.Encode(r)...)
	})
}

// HandleStream is like Handle, for an RPC that emits events after its answer. h calls ack once with the
// result, and what it emits to s after that reaches the client after the answer, in this order. A second
// call of ack returns ErrAcknowledged, and its other errors are those of Packet.Ack. If h returns an error
// before it has called ack, the client receives that error as with Handle; later it is only reported to
// OnError. ack is for the time until h returns: if h returns nil without a call, the client receives an
// error with the code CodeInternal, so that it does not wait for ever.
func HandleStream[Q, R any](l Listener, e RPC[Q, R], h func(ctx context.Context, s *Socket, q Q, ack func(R) error) error) *Registration {
	mustNotBeNil(string(e), h == nil)
	return l.onCall(string(e), func(p *Packet) error {
		q, err := e.Decode(p)
		if err != nil {
			return err
		}
		err = h(p.Context(), p.Socket(), q, func(r R) error { return p.Ack(event.Encode(r)...) })
		if err == nil && p.WantsAck() {
			return errUnanswered
		}
		return err
	})
}

var errUnanswered = errors.New("parley: the handler has returned without an answer: it must call ack, or return an error")

var (
	_ event.Caller = (*Socket)(nil)
	_ event.Group  = (*Broadcast)(nil)
)
