package chat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/parley-go/parley/history"
)

// A Code says why a request was refused. docs/protocol.md says how clients should react to it.
type Code string

// Codes of all bindings.
const (
	BadPayload       Code = "bad_payload"
	BadRoom          Code = "bad_room"
	NotJoined        Code = "not_joined"
	IdentityMismatch Code = "identity_mismatch"
	TooLarge         Code = "too_large"
	KeyReuse         Code = "key_reuse"
	TooManyRooms     Code = "too_many_rooms"
	RateLimited      Code = "rate_limited"
	UnknownEvent     Code = "unknown_event"
	Unavailable      Code = "unavailable"
	UnknownOutcome   Code = "unknown_outcome"
	Internal         Code = "internal"
)

// codes is the only table of codes: what each means, and its HTTP status.
var codes = map[Code]struct {
	meaning string
	status  int
}{
	BadPayload:       {"the argument is not an object, or a member is missing, of the wrong type or out of bounds", http.StatusBadRequest},
	BadRoom:          {"`roomId` cannot be the id of a room", http.StatusBadRequest},
	NotJoined:        {"the room was not joined", http.StatusForbidden},
	IdentityMismatch: {"`sendMessage` names somebody else than `joinRoom` did, or an id is that of a guest, and not the client's own", http.StatusForbidden},
	TooLarge:         {"the message is larger than `max-message`", http.StatusRequestEntityTooLarge},
	KeyReuse:         {"this `clientId` belongs to another message of the same author", http.StatusUnprocessableEntity},
	TooManyRooms:     {"the socket is in `max-rooms` rooms, or all clients of its address together are in too many", http.StatusTooManyRequests},
	RateLimited:      {"too much at once, more than can wait; nothing was stored. `data` is `{retryAfter}`, in seconds", http.StatusTooManyRequests},
	UnknownEvent:     {"there is no such event", http.StatusNotFound},
	Unavailable:      {"the store cannot be written or read, or the server is shutting down; nothing was stored. Presence, typing and what can be read go on", http.StatusServiceUnavailable},
	UnknownOutcome:   {"the message may have been stored, or not", http.StatusGatewayTimeout},
	Internal:         {"the server's fault", http.StatusInternalServerError},
}

// Status returns the code's HTTP status.
func (c Code) Status() int { return codes[c].status }

// An Error is a refusal that a client may see.
type Error struct {
	Code    Code
	Message string // for people

	RetryAfter time.Duration // when to try again; 0 if unknown
}

func (e *Error) Error() string { return "parley: chat: " + string(e.Code) + ": " + e.Message }

// Refuse returns an *Error.
func Refuse(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrGone is returned if the client has given up or is no longer connected.
var ErrGone = errors.New("parley: chat: the client is gone")

// storeError converts an error of the store into one for the client. It reports the error to the
// operator unless the client caused it or the client's context has ended.
func (s *Service) storeError(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return ErrGone
	}
	refusal, alarming := storeRefusal(err)
	if alarming && s.opts.Failed != nil {
		s.opts.Failed(doing, err)
	}
	return refusal
}

// storeRefusal returns what a client may see of a store error, and whether to report the error to
// the operator.
func storeRefusal(err error) (refusal error, alarming bool) {
	var e *history.Error
	reason := ""
	if errors.As(err, &e) {
		reason = e.Reason
	}
	switch history.Code(err) {
	case history.ErrBadRoom.Code:
		return Refuse(BadRoom, "this cannot be the id of a room"), false
	case history.ErrBadDraft.Code, history.ErrBadPage.Code:
		return Refuse(BadPayload, "not acceptable: %s", reason), false
	case history.ErrTooLarge.Code:
		return Refuse(TooLarge, "the message is too large"), false
	case history.ErrKeyReuse.Code:
		return Refuse(KeyReuse, "this clientId belongs to another message"), false
	case history.ErrUnknownOutcome.Code:
		return Refuse(UnknownOutcome, "the message may have been stored: send it again with the same clientId"), true
	case history.ErrBusy.Code:
		return Refuse(Unavailable, "too much is being read: try again later"), true
	case history.ErrFull.Code:
		return Refuse(Unavailable, "messages cannot be stored at the moment, because the server's disk is nearly full: try again later"), true
	case history.ErrClosed.Code:
		return Refuse(Unavailable, "the server is shutting down: try again"), false
	}
	return Refuse(Unavailable, "messages cannot be stored or read at the moment: try again later"), true
}
