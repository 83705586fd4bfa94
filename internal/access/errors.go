package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// An Error is a refusal that a client may see.
type Error struct {
	Code       conversation.Code
	Message    string        // for people
	RetryAfter time.Duration // when to try again; 0 if unknown

	cause error // of Unavailable: for the log
}

func (e *Error) Error() string {
	s := "parley: access: " + string(e.Code) + ": " + e.Message
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.cause }

func refuse(code conversation.Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// tooOften refuses what may be tried again after wait.
func tooOften(message string, wait time.Duration) error {
	const least = time.Second
	return &Error{Code: conversation.RateLimited, Message: message, RetryAfter: max(wait, least)}
}

// storeError says that the store failed. Other errors stay as they are.
func storeError(doing string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &Error{Code: conversation.Unavailable, Message: "the store cannot be used at the moment: try again later", cause: fmt.Errorf("%s: %w", doing, err)}
	switch {
	case errors.Is(err, history.ErrConflict):
		e.Code, e.Message = conversation.Conflicted, "it has changed meanwhile: try again"
	case errors.Is(err, history.ErrUnknownOutcome):
		e.Code, e.Message = conversation.UnknownOutcome, "the change may have been stored"
	case errors.Is(err, history.ErrTooLarge), errors.Is(err, history.ErrBadDraft):
		e.Code, e.Message = conversation.BadPayload, "too long"
	}
	return e
}
