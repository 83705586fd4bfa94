package event

import "context"

// Caller is the receiver of a call: for a server, a *parley.Socket.
type Caller interface {
	// EmitWithAck sends an event and waits for its acknowledgement until ctx ends.
	EmitWithAck(ctx context.Context, event string, args ...any) (Reply, error)
}

// Group is a set of receivers: a *parley.Broadcast.
type Group interface {
	// EmitWithAck sends an event and waits until everyone has acknowledged it or ctx ends. It
	// returns the replies that arrived, and an error if some did not.
	EmitWithAck(ctx context.Context, event string, args ...any) ([]Reply, error)
}

// RPC describes an event with one argument of type Q, whose acknowledgement is a value of type R.
type RPC[Q, R any] string

// Call sends the event and waits for the answer. If the other side refuses, it returns an *Error.
// Other errors come from whom.EmitWithAck, or say that the answer is not an R.
//
// The other side chose everything in the *Error. If your handler returns it, its own client receives
// it unchanged. If the other side and that client are not the same, make an Error of your own.
func (e RPC[Q, R]) Call(ctx context.Context, whom Caller, q Q) (R, error) {
	reply, err := whom.EmitWithAck(ctx, string(e), Encode(q)...)
	if err != nil {
		var none R
		return none, err
	}
	return result[R](reply)
}

// Answer is one receiver's answer to CallAll.
type Answer[R any] struct {
	Value R
	Err   error // an *Error if the receiver refused; otherwise the answer is not an R
}

// CallAll sends the event to everyone in a group and waits for their answers. It returns those that
// arrived, in order of arrival, together with the error of whom.EmitWithAck.
func (e RPC[Q, R]) CallAll(ctx context.Context, whom Group, q Q) ([]Answer[R], error) {
	replies, err := whom.EmitWithAck(ctx, string(e), Encode(q)...)
	answers := make([]Answer[R], len(replies))
	for i, reply := range replies {
		answers[i].Value, answers[i].Err = result[R](reply)
	}
	return answers, err
}

// Decode returns the argument of a received event; see [Event.Decode].
func (e RPC[Q, R]) Decode(args Arguments) (q Q, err error) {
	err = decodeArg(args, 0, &q)
	return q, err
}
