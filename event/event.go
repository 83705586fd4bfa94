package event

import "github.com/parley-go/parley/internal/sio"

// Binary is binary data inside an argument: a field, an element or a map's value of this type
// travels as binary. An argument that is itself binary may be a plain []byte.
//
// In a type with a method MarshalJSON, a Binary travels as binary if all fields of the type are
// exported and the method encodes the Binary as it is; the method is then called more than once.
// Otherwise it becomes a base64 string, as encoding/json encodes any []byte.
type Binary = sio.Binary

// None is the argument of an event without arguments, or the result of an RPC without a result.
type None struct{}

// Emitter is what events can be emitted to: in package parley a *Server, *Namespace, *Broadcast or
// *Socket.
type Emitter interface {
	// Emit sends an event. The arguments are encoded as by encoding/json; a []byte, and a Binary
	// at any depth, travels as binary.
	Emit(event string, args ...any) error
}

// Arguments are the arguments of an event or an answer that was received: a *parley.Packet or a
// [Reply].
type Arguments interface {
	// DecodeArg decodes the argument with the index i, from 0, into a pointer. The error says that
	// it is missing, or that it does not have the pointer's type.
	DecodeArg(i int, into any) error
}

// Event describes an event with one argument of type T. It is a constant or a package-level
// variable:
//
//	const NewMessage = event.Event[Message]("newMessage")
type Event[T any] string

// Emit sends the event to everybody that to stands for. The error is the one of to.Emit.
func (e Event[T]) Emit(to Emitter, v T) error { return to.Emit(string(e), Encode(v)...) }

// Decode returns the argument of such an event. The error is the one of a.DecodeArg. A None needs no
// argument, and arguments in excess are ignored.
func (e Event[T]) Decode(args Arguments) (v T, err error) {
	err = decodeArg(args, 0, &v)
	return v, err
}

// Event2 describes an event with two arguments.
type Event2[A, B any] string

// Emit sends the event to everybody that to stands for. The error is the one of to.Emit.
func (e Event2[A, B]) Emit(to Emitter, a A, b B) error { return to.Emit(string(e), a, b) }

// Decode returns the arguments of such an event; see [Event.Decode].
func (e Event2[A, B]) Decode(args Arguments) (a A, b B, err error) {
	if err = args.DecodeArg(0, &a); err == nil {
		err = args.DecodeArg(1, &b)
	}
	return a, b, err
}

// Encode returns v as the arguments of an event or an acknowledgement: none if v is a None.
func Encode(v any) []any {
	if _, none := v.(None); none {
		return nil
	}
	return []any{v}
}

// decodeArg is args.DecodeArg, but a None needs no argument.
func decodeArg(args Arguments, i int, into any) error {
	if _, none := into.(*None); none {
		return nil
	}
	return args.DecodeArg(i, into)
}
