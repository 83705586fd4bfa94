package events

import (
	"encoding/json"
	"errors"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/chat"
)

// Payloads from clients. Members that are not listed here are ignored.

type joinRequest struct {
	RoomID     string `json:"roomId"`
	UserID     string `json:"userId"`
	OperatorID string `json:"operatorId"`
	Name       string `json:"name"`
	After      *int64 `json:"after"`
	Epoch      string `json:"epoch"`
	Limit      int    `json:"limit"`
}

type sendRequest struct {
	RoomID     string          `json:"roomId"`
	UserID     string          `json:"userId"`
	OperatorID string          `json:"operatorId"`
	ClientID   string          `json:"clientId"`
	Message    json.RawMessage `json:"message"`
}

type historyRequest struct {
	RoomID string `json:"roomId"`
	Before *int64 `json:"before"`
	After  *int64 `json:"after"`
	Limit  int    `json:"limit"`
}

type typingRequest struct {
	RoomID string `json:"roomId"`
	Typing *bool  `json:"typing"`
}

type roomRequest struct {
	RoomID string `json:"roomId"`
}

// errorNotice is the payload of the error event. The service has the other answers.
type errorNotice struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
	Event   string `json:"event"`
}

// retry is the data of a refusal that a client may try again.
type retry struct {
	RetryAfter int `json:"retryAfter"` // seconds
}

// decode decodes an event's first argument, or says what is wrong with it.
func decode(p *parley.Packet, into any) error {
	err := p.Decode(into)
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistyped) && mistyped.Field != "":
		return refusal(chat.Refuse(chat.BadPayload, "%s cannot be a JSON %s", mistyped.Field, mistyped.Value))
	}
	return refusal(chat.Refuse(chat.BadPayload, "the argument must be an object"))
}
