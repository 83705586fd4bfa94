package parley

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Error is an error that is meant for the client. Returned by a handler, it is the answer
// to the client's acknowledgement as the object {code, message, data}. Any other error is
// answered with the code "internal" and says nothing of its cause.
type Error struct {
	Code    string `json:"code"`           // for programs
	Message string `json:"message"`        // for people
	Data    any    `json:"data,omitempty"` // anything that encoding/json takes
}

func (e *Error) Error() string { return "parley: " + e.Code + ": " + e.Message }

// The codes of errors that the package itself answers with.
const (
	CodeInternal   = "internal"    // a handler failed, or panicked
	CodeBadPayload = "bad_payload" // an argument does not have the type the handler wants
)

// ConnectError refuses a client that connects to a namespace, when middleware returns it:
// the client's connect_error gets its message and data. The message of any other error
// is replaced by "Connection refused".
type ConnectError struct {
	Message string
	Data    any // anything that encoding/json takes; nil for none
}

func (e *ConnectError) Error() string { return "parley: connection refused: " + e.Message }

var (
	// ErrDisconnected is returned when the socket is not connected any more.
	ErrDisconnected = errors.New("parley: socket disconnected")
	// ErrConnecting is returned when middleware waits for an acknowledgement: the client cannot
	// answer before it is connected.
	ErrConnecting = errors.New("parley: the socket is not connected yet")
	// ErrWrongNamespace is returned by Socket.Send for an event that another namespace has encoded.
	ErrWrongNamespace = errors.New("parley: the event was encoded for another namespace")
	// ErrTimeout is returned when an acknowledgement does not come in time.
	ErrTimeout = errors.New("parley: acknowledgement timed out")
	// ErrTooManyRooms is returned by Join beyond Options.MaxRooms.
	ErrTooManyRooms = errors.New("parley: socket is in too many rooms")
	// ErrTooManyAcks is returned beyond Options.MaxPendingAcks.
	ErrTooManyAcks = errors.New("parley: too many acknowledgements are awaited")
	// ErrAcknowledged is returned by the second Packet.Ack.
	ErrAcknowledged = errors.New("parley: packet is already acknowledged")
	// ErrServerClosed is what Serve returns after Shutdown.
	ErrServerClosed = errors.New("parley: server closed")
)

// PanicError is a panic in a handler, as OnError sees it.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("parley: handler panicked: %v", e.Value) }

// clientError turns what a handler returned into what its client may see.
func clientError(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e
	}
	return &Error{Code: CodeInternal, Message: "internal error"}
}

// connectErrorData is the payload of a CONNECT_ERROR packet.
func connectErrorData(err error) []byte {
	var e *ConnectError
	if !errors.As(err, &e) || e == nil {
		e = &ConnectError{Message: "Connection refused"}
	}
	payload := struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{e.Message, e.Data}
	var b []byte
	if guard(func() (err error) { b, err = json.Marshal(payload); return }) != nil {
		payload.Data = nil // it cannot be encoded: the message still can
		b, _ = json.Marshal(payload)
	}
	return b
}
