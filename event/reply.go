package event

import (
	"encoding/json"

	"github.com/parley-go/parley/internal/sio"
)

// Reply is the other side's acknowledgement of an event. It is immutable.
type Reply struct {
	data        []byte
	attachments [][]byte
}

// NewReply returns a reply whose arguments are the elements of a JSON array. In the array,
// {"_placeholder":true,"num":0} stands for the first attachment, and so on, as in Socket.IO
// packets. The array must be valid. You must not change it or the attachments afterwards.
func NewReply(array []byte, attachments ...[]byte) Reply {
	return Reply{data: array, attachments: attachments}
}

func (r Reply) elements(dst [][]byte) [][]byte { return sio.SplitArgs(dst, r.data) }

// Args returns the arguments as raw JSON, in which binary data is a placeholder; Decode and Values
// fill in the data. The arguments share memory with the reply, so do not change them.
func (r Reply) Args() []json.RawMessage { return sio.RawArgs(r.elements(nil)) }

// Decode decodes the first arguments into the given pointers, as encoding/json does. []byte and
// Binary accept binary data. If an argument is missing, its variable stays unchanged; extra
// arguments are ignored. If the other side refused the event, Decode returns the *Error and decodes
// nothing.
func (r Reply) Decode(into ...any) error {
	if err := r.Err(); err != nil {
		return err
	}
	var few [4][]byte
	return sio.DecodeArgs(r.elements(few[:0]), r.attachments, into)
}

// DecodeArg decodes the argument with index i, from 0, into a pointer, as Decode does. A missing
// argument is an error.
func (r Reply) DecodeArg(i int, into any) error {
	if err := r.Err(); err != nil {
		return err
	}
	var few [4][]byte
	return sio.DecodeArg(r.elements(few[:0]), r.attachments, i, into)
}

// MarshalJSON encodes the reply's argument: as an array if there are several, as null if there is
// none. Binary data becomes base64.
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

// Values returns the arguments decoded as encoding/json decodes into an any, with binary data as
// Binary. If the other side refused the event, Values returns the *Error.
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
