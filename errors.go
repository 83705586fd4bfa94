package parley

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/event"
)

// Error is an error that the client may see. If a handler returns one, the client receives it as
// acknowledgement. If middleware returns one, it refuses the client with this error. For any other
// error, the client receives the code "internal" and does not learn the cause.
type Error = event.Error

// Error codes that this package itself uses.
const (
	CodeInternal          = event.CodeInternal    // a handler or middleware failed, or panicked
	CodeBadPayload        = event.CodeBadPayload  // an argument is missing, or not of the handler's type
	CodeTooManyNamespaces = "too_many_namespaces" // the client has joined Options.MaxNamespaces
)

// ConnectError refuses a client that connects to a namespace, if middleware returns it. The
// client's connect_error event receives exactly this message and data. Usually you should return an
// *Error instead: the client then receives its message, and as data the complete {"code",
// "message", "data"}. For any other error, the client receives an *Error with the code "internal"
// and the message "Connection refused".
type ConnectError struct {
	Message string
	Data    any // any value that encoding/json can encode; nil for none
	// RetryAfter is for Options.AllowRequest: if it is positive, the client has come too soon, and is
	// told to come back after this time.
	RetryAfter time.Duration
}

func (e *ConnectError) Error() string { return "parley: connection refused: " + e.Message }

var (
	// ErrDisconnected is returned when the socket is no longer connected.
	ErrDisconnected = errors.New("parley: socket disconnected")
	// ErrConnecting is returned when middleware waits for an acknowledgement: the client cannot
	// answer before it is connected.
	ErrConnecting = errors.New("parley: the socket is not connected yet")
	// ErrWrongNamespace is returned by Socket.Send for an event that was encoded for another
	// namespace.
	ErrWrongNamespace = errors.New("parley: the event was encoded for another namespace")
	// ErrTimeout is returned when an acknowledgement does not arrive in time. errors.Is(ErrTimeout,
	// context.DeadlineExceeded) is true.
	ErrTimeout error = timeoutError{}
	// ErrTooManyRooms is returned by Join beyond Options.MaxRooms.
	ErrTooManyRooms = errors.New("parley: socket is in too many rooms")
	// ErrTooManyAcks is returned beyond Options.MaxPendingAcks.
	ErrTooManyAcks = errors.New("parley: too many acknowledgements are awaited")
	// ErrAcknowledged is returned by the second Packet.Ack.
	ErrAcknowledged = errors.New("parley: packet is already acknowledged")
	// ErrCluster is wrapped by errors of what other servers of a cluster will not receive. The sockets
	// of this server have received it.
	ErrCluster = errors.New("parley: the cluster does not receive it")
	// ErrServerClosed is returned by Serve after Shutdown.
	ErrServerClosed = errors.New("parley: server closed")
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "parley: acknowledgement timed out" }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// PanicError is a panic in a handler, as passed to OnError.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("parley: handler panicked: %v", e.Value) }

// clientError converts a handler's error into one that the client may see.
func clientError(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e
	}
	return &Error{Code: CodeInternal, Message: "internal error"}
}

// refusal is the acknowledgement that a client receives when the handler of its event fails.
func refusal(err error) event.Refusal { return event.Refusal{Error: clientError(err)} }

// connectError converts the error that refuses a client into one that the client may see.
func connectError(err error) *ConnectError {
	var exact *ConnectError
	if errors.As(err, &exact) && exact != nil {
		return exact
	}
	var coded *Error
	if !errors.As(err, &coded) || coded == nil {
		coded = &Error{Code: CodeInternal, Message: "Connection refused"}
	}
	return &ConnectError{Message: coded.Message, Data: coded}
}

// connectErrorData is the payload of a CONNECT_ERROR packet.
func connectErrorData(err error) []byte {
	e := connectError(err)
	payload := struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{e.Message, e.Data}
	var b []byte
	if guard(func() (err error) { b, err = json.Marshal(payload); return }) != nil {
		payload.Data = nil // it cannot be encoded, but the message and the code can
		if coded, ok := e.Data.(*Error); ok {
			payload.Data = &Error{Code: coded.Code, Message: coded.Message}
		}
		b, _ = json.Marshal(payload)
	}
	return b
}
