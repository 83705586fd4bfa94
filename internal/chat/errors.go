package chat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// A Code says why a request was refused. Package conversation has the table of all of them.
type Code = conversation.Code

// Codes of all bindings.
const (
	BadPayload       = conversation.BadPayload
	BadRoom          = conversation.BadRoom
	NotJoined        = conversation.NotJoined
	IdentityMismatch = conversation.IdentityMismatch
	TooLarge         = conversation.TooLarge
	KeyReuse         = conversation.KeyReuse
	TooManyRooms     = conversation.TooManyRooms
	RateLimited      = conversation.RateLimited
	UnknownEvent     = conversation.UnknownEvent
	Unavailable      = conversation.Unavailable
	UnknownOutcome   = conversation.UnknownOutcome
	Internal         = conversation.Internal
	Forbidden        = conversation.Forbidden
	Conflicted       = conversation.Conflicted
	NotFound         = conversation.NotFound
	Gone             = conversation.Gone
	TooLate          = conversation.TooLate
	BadToken         = conversation.BadToken
	NotReady         = conversation.NotReady
)

// An Error is a refusal that a client may see.
type Error struct {
	Code    Code
	Message string // for people

	RetryAfter time.Duration             // when to try again; 0 if unknown
	Data       *conversation.RefusalData // what else the client learns; nil: nothing
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
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return refused
	case ctx.Err() != nil:
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
	case history.ErrNotFound.Code:
		return Refuse(NotFound, "there is no such message, conversation or person"), false
	case history.ErrPruned.Code:
		return Refuse(Gone, "it was deleted for its age"), false
	case history.ErrConflict.Code:
		return &Error{Code: Conflicted, Message: "somebody else was faster"}, false
	case history.ErrNotReady.Code:
		return Refuse(NotReady, "there is no index: the setting search is off, or it is still being built"), false
	case history.ErrNotSupported.Code:
		return Refuse(Unavailable, "the store cannot do this"), false
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
