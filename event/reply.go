package event

import (
	"encoding/json"

	"github.com/parley-go/parley/internal/sio"
)

// Reply is what the other side has acknowledged an event with. It is immutable.
type Reply struct {
	data        []byte
	attachments [][]byte
}

// NewReply returns the reply whose arguments are the elements of a JSON array. In it
// {"_placeholder":true,"num":0} stands for the first attachment, and so on, as in Socket.IO's
// packets. The array must be valid; it and the attachments must not change any more.
func NewReply(array []byte, attachments ...[]byte) Reply {
	return Reply{data: array, attachments: attachments}
}

func (r Reply) elements(dst [][]byte) [][]byte { return sio.SplitArgs(dst, r.data) }

// Args returns the arguments as raw JSON, in which binary data is a placeholder; Decode and Values
// put the data in. They share memory with the reply and must not be changed.
func (r Reply) Args() []json.RawMessage { return sio.RawArgs(r.elements(nil)) }

// Decode decodes the first arguments into the given pointers, as encoding/json does; []byte and
// Binary take binary data. Missing arguments leave their pointer's value as it is, and those in
// excess are ignored. If the other side has refused the event, Decode returns the *Error and
// decodes nothing.
func (r Reply) Decode(into ...any) error {
	if err := r.Err(); err != nil {
		return err
	}
	var few [4][]byte
	return sio.DecodeArgs(r.elements(few[:0]), r.attachments, into)
}

// DecodeArg decodes the argument with the index i, from 0, into a pointer, as Decode does. A missing
// argument is an error.
func (r Reply) DecodeArg(i int, into any) error {
	if err := r.Err(); err != nil {
		return err
	}
	var few [4][]byte
	return sio.DecodeArg(r.elements(few[:0]), r.attachments, i, into)
}

// MarshalJSON encodes what the reply says: its argument, or an array if there are several, or null
// if there is none. Binary data becomes base64.
func (r Reply) MarshalJSON() ([]byte, error) {
	args := r.elements(nil)
	if len(args) == 0 {
		return []byte("null"), nil
	}
	raw := r.data
	if len(args) == 1 {
		raw = args[0]
	}
	var encoded json.RawMessage
	err := sio.Decode(raw, r.attachments, &encoded)
	return encoded, err
}

// Values returns the arguments as encoding/json decodes them into an any, and binary data as
// Binary. A refusal is returned as an *Error.
func (r Reply) Values() ([]any, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	return sio.ArgValues(r.elements(nil), r.attachments)
}

// result returns the argument of the answer to an RPC.
func result[R any](r Reply) (v R, err error) {
	if err = r.Err(); err == nil {
		err = decodeArg(r, 0, &v)
	}
	return v, err
}
