package event

import "github.com/parley-go/parley/internal/sio"

// Binary is binary data inside an argument: a field, element or map value of this type is sent as
// binary. If the argument itself is binary, it may be a plain []byte.
//
// If a type has a MarshalJSON method, a Binary in it is sent as binary only if all fields of the
// type are exported and the method encodes the Binary unchanged. The method is then called more
// than once. Otherwise the Binary becomes a base64 string, as encoding/json encodes any []byte.
type Binary = sio.Binary

// None is the argument type of an event without arguments, or the result type of an RPC without a
// result.
type None struct{}

// Emitter is what you emit events to: in package parley a *Server, *Namespace, *Broadcast or
// *Socket.
type Emitter interface {
	// Emit sends an event. It encodes the arguments as encoding/json does, except that a []byte
	// argument, and a Binary at any depth, is sent as binary.
	Emit(event string, args ...any) error
}

// Arguments gives access to the arguments of a received event or answer: a *parley.Packet or a
// [Reply].
type Arguments interface {
	// DecodeArg decodes the argument with index i, from 0, into a pointer. It returns an error if
	// the argument is missing or does not have the pointer's type.
	DecodeArg(i int, into any) error
}

// Event describes an event with one argument of type T. Declare it as a constant or a package-level
// variable:
//
//	const NewMessage = event.Event[Message]("newMessage")
type Event[T any] string

// Emit sends the event to everyone that to stands for. It returns the error of to.Emit.
func (e Event[T]) Emit(to Emitter, v T) error { return to.Emit(string(e), Encode(v)...) }

// Decode returns the argument of a received event. It returns the error of args.DecodeArg. A None
// needs no argument, and extra arguments are ignored.
func (e Event[T]) Decode(args Arguments) (v T, err error) {
	err = decodeArg(args, 0, &v)
	return v, err
}

// Event2 describes an event with two arguments.
type Event2[A, B any] string

// Emit sends the event to everyone that to stands for. It returns the error of to.Emit.
func (e Event2[A, B]) Emit(to Emitter, a A, b B) error { return to.Emit(string(e), a, b) }

// Decode returns the arguments of a received event; see [Event.Decode].
func (e Event2[A, B]) Decode(args Arguments) (a A, b B, err error) {
	if err = args.DecodeArg(0, &a); err == nil {
		err = args.DecodeArg(1, &b)
	}
	return a, b, err
}

// Encode returns v as the arguments of an event or acknowledgement; if v is a None, there are none.
func Encode(v any) []any {
	if _, none := v.(None); none {
		return nil
	}
	return []any{v}
}

// decodeArg is args.DecodeArg, except that a None needs no argument.
func decodeArg(args Arguments, i int, into any) error {
	if _, none := into.(*None); none {
		return nil
	}
	return args.DecodeArg(i, into)
}
