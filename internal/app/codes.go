package app

import (
	"errors"
	"fmt"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
)

// The codes that clients are answered with; docs/protocol.md says what to do about each.
const (
	codeBadPayload       = parley.CodeBadPayload
	codeBadRoom          = "bad_room"
	codeNotJoined        = "not_joined"
	codeIdentityMismatch = "identity_mismatch"
	codeTooLarge         = "too_large"
	codeKeyReuse         = "key_reuse"
	codeTooManyRooms     = "too_many_rooms"
	codeUnknownEvent     = "unknown_event"
	codeUnavailable      = "unavailable"
	codeUnknownOutcome   = "unknown_outcome"
	codeInternal         = parley.CodeInternal
)

// refuse returns an error that the client sees.
func refuse(code, format string, args ...any) error {
	return &parley.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// storeRefusal returns what a client may see of an error of the store, and whether the
// operator should hear of it.
func storeRefusal(err error) (refusal error, alarming bool) {
	var e *history.Error
	reason := ""
	if errors.As(err, &e) {
		reason = e.Reason
	}
	switch history.Code(err) {
	case history.ErrBadRoom.Code:
		return refuse(codeBadRoom, "this cannot be the id of a room"), false
	case history.ErrBadDraft.Code, history.ErrBadPage.Code:
		return refuse(codeBadPayload, "not acceptable: %s", reason), false
	case history.ErrTooLarge.Code:
		return refuse(codeTooLarge, "the message is too large"), false
	case history.ErrKeyReuse.Code:
		return refuse(codeKeyReuse, "this clientId belongs to another message"), false
	case history.ErrUnknownOutcome.Code:
		return refuse(codeUnknownOutcome, "the message may have been stored: send it again with the same clientId"), true
	case history.ErrClosed.Code:
		return refuse(codeUnavailable, "the server is shutting down: try again"), false
	}
	return refuse(codeUnavailable, "messages cannot be stored or read at the moment: try again later"), true
}
