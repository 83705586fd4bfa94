package client

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/parley-go/parley/client/internal/engine"
	"github.com/parley-go/parley/event"
)

var (
	// ErrDisconnected is the error of an EmitWithAck whose event was sent and whose answer will not come.
	ErrDisconnected = errors.New("client: disconnected before the answer")
	// ErrBufferFull is the error of what does not fit into Options.MaxBuffer.
	ErrBufferFull = errors.New("client: too much waits to be sent")
	// ErrTooLarge is the error of an event that is larger than the server accepts.
	ErrTooLarge = errors.New("client: the event is larger than the server accepts")
	// ErrNotConnected is the error of a volatile event without a connection.
	ErrNotConnected = errors.New("client: not connected")
	// ErrClosed is the error of everything after Close.
	ErrClosed = errors.New("client: closed")
	// ErrServerDisconnect is why a client is not connected that the server has disconnected. It does not
	// reconnect by itself: call Connect.
	ErrServerDisconnect = errors.New("client: disconnected by the server")
	// ErrAcknowledged is the error of a second Packet.Ack.
	ErrAcknowledged = errors.New("client: the packet is acknowledged already")
)

// ConnectError is the server's refusal of a client in a namespace, for example because of its Auth. The
// client does not try again by itself, unless Options.RetryRefused says so: call Connect.
type ConnectError struct {
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"` // what else the server says; nil: nothing
}

func (e *ConnectError) Error() string { return "client: refused: " + e.Message }

// Unwrap returns the *event.Error with which a server of Parley has refused the client, or nil.
func (e *ConnectError) Unwrap() error {
	refusal := &event.Error{}
	if json.Unmarshal(e.Data, refusal) != nil || refusal.Code == "" {
		return nil
	}
	return refusal
}

// RefusedError is a handshake that the server has answered with an error: a *RefusedError is in the chain of
// the error of Dial and of State.Err.
type RefusedError = engine.RefusedError

// LostError says how a connection was lost.
type LostError = engine.CloseError

// PanicError is a panic in a handler.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("client: handler panicked: %v", e.Value) }
