package event

import (
	"bytes"
	"encoding/json"

	"github.com/parley-go/parley/internal/sio"
)

// Error is an error that the other side may see. A handler that returns one refuses the event; see
// the package comment. Middleware of package parley that returns one refuses the client with it.
type Error struct {
	Code    string `json:"code"`           // for programs
	Message string `json:"message"`        // for people
	Data    any    `json:"data,omitempty"` // any value that encoding/json can encode; omitted if nil
}

func (e *Error) Error() string { return "parley: " + e.Code + ": " + e.Message }

// Error codes that this module itself uses.
const (
	CodeInternal   = "internal"    // a handler failed, or panicked
	CodeBadPayload = "bad_payload" // an argument is missing, or does not have the handler's type
)

// Refusal is the acknowledgement argument that refuses an event.
type Refusal struct {
	Error *Error `json:"error"`
}

// Err returns the *Error with which the other side refused the event, or nil. A refusal has exactly
// one argument: an object whose only member is "error", which is an object with the strings "code"
// and "message".
func (r Reply) Err() error {
	var few [4][]byte
	args := r.elements(few[:0])
	if len(args) != 1 || !beginsWithError(args[0]) {
		return nil
	}
	var members map[string]json.RawMessage
	var e struct {
		Code, Message *string
		Data          any
	}
	if json.Unmarshal(args[0], &members) != nil || len(members) != 1 || members["error"] == nil ||
		sio.Decode(members["error"], r.attachments, &e) != nil || e.Code == nil || e.Message == nil {
		return nil
	}
	return &Error{Code: *e.Code, Message: *e.Message, Data: e.Data}
}

// beginsWithError reports whether the first member of a JSON object is "error". So most answers
// that are not refusals need not be decoded.
func beginsWithError(b []byte) bool {
	b, isObject := bytes.CutPrefix(b, []byte("{"))
	return isObject && bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte(`"error"`))
}
