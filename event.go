package parley

import (
	"context"

	"github.com/parley-go/parley/event"
)

// The descriptors of events. They are those of package event, which a client can share.
type (
	// Event describes an event with one argument of type T. It is a constant or a package-level
	// variable. Event.Emit sends the event, and On has it handled.
	//
	//	const NewMessage = parley.Event[Message]("newMessage")
	Event[T any] = event.Event[T]

	// Event2 describes an event with two arguments. Event2.Emit sends the event, and On2 has it
	// handled.
	Event2[A, B any] = event.Event2[A, B]

	// RPC describes an event with one argument of type Q that is answered, by its acknowledgement,
	// with a value of type R. RPC.Call and RPC.CallAll ask clients, and Handle has the questions of
	// clients answered.
	RPC[Q, R any] = event.RPC[Q, R]

	// None is the argument of an event without arguments, or the result of an RPC without a result.
	None = event.None

	// Binary is binary data inside an argument: a field, an element or a map's value of this type
	// travels as binary. An argument that is itself binary may be a plain []byte. See event.Binary.
	Binary = event.Binary

	// Answer is one client's answer to RPC.CallAll.
	Answer[R any] = event.Answer[R]

	// Emitter is what events are emitted to: a *Server, a *Namespace, a *Broadcast (a choice of
	// sockets) or a *Socket.
	Emitter = event.Emitter
)

// Listener is what handlers are registered on: a *Server, *Namespace or *ParentNamespace, for all
// of its sockets, or one *Socket.
type Listener interface {
	// On calls h for each event of that name.
	On(event string, h Handler) *Registration
	// onCall is On for the one handler that answers the event.
	onCall(event string, h Handler) *Registration
}

// Handler handles one event. See the package comment for what becomes of its error.
type Handler func(*Packet) error

// On calls h for each event e that a client sends; ctx ends when the socket disconnects. If the
// argument is missing or is not a T, the event is refused with the code CodeBadPayload, and h
// is not called. If T is None, the event needs no argument.
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

// On2 is On for an event with two arguments, neither of which may be missing.
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

// Handle calls h for each event e that a client sends, as On does, and answers with what h
// returns: the result, or the error (see Error). A client that asks for no acknowledgement gets
// no result. It panics if l has a handler for the same RPC already, since an event has one answer.
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

var (
	_ event.Caller = (*Socket)(nil)
	_ event.Group  = (*Broadcast)(nil)
)
