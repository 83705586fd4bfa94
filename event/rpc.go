package event

import "context"

// Caller is somebody who can be asked: a *parley.Socket on the server's side.
type Caller interface {
	// EmitWithAck sends an event and waits for its acknowledgement until ctx ends.
	EmitWithAck(ctx context.Context, event string, args ...any) (Reply, error)
}

// Group is a number of callers: a *parley.Broadcast.
type Group interface {
	// EmitWithAck sends an event and waits until everybody has acknowledged it or ctx ends. It
	// returns the replies that came, and an error if some did not.
	EmitWithAck(ctx context.Context, event string, args ...any) ([]Reply, error)
}

// RPC describes an event with one argument of type Q that is answered, by its acknowledgement,
// with a value of type R.
type RPC[Q, R any] string

// Call sends the event and waits for the answer. The error is an *Error if the other side refuses;
// otherwise it is about sending and waiting, as whom.EmitWithAck returns it, or says that the
// answer is not an R.
//
// The other side chose all that is in the *Error. A handler that returns it hands it on to its own
// client as it is: make an Error of your own if the two are not the same.
func (e RPC[Q, R]) Call(ctx context.Context, whom Caller, q Q) (R, error) {
	reply, err := whom.EmitWithAck(ctx, string(e), Encode(q)...)
	if err != nil {
		var none R
		return none, err
	}
	return result[R](reply)
}

// Answer is one caller's answer to CallAll.
type Answer[R any] struct {
	Value R
	Err   error // an *Error if the caller refuses; otherwise it says that the answer is not an R
}

// CallAll sends the event to everybody in a group and waits for their answers. It returns those
// that came, in the order of their arrival, even if the error is not nil. The error is the one of
// whom.EmitWithAck.
func (e RPC[Q, R]) CallAll(ctx context.Context, whom Group, q Q) ([]Answer[R], error) {
	replies, err := whom.EmitWithAck(ctx, string(e), Encode(q)...)
	answers := make([]Answer[R], len(replies))
	for i, reply := range replies {
		answers[i].Value, answers[i].Err = result[R](reply)
	}
	return answers, err
}

// Decode returns the argument of such an event; see [Event.Decode].
func (e RPC[Q, R]) Decode(args Arguments) (q Q, err error) {
	err = decodeArg(args, 0, &q)
	return q, err
}
