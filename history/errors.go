package history

import "errors"

// An Error is a failure that clients are told of by its Code. Values are immutable;
// errors.Is compares codes.
//
//	code             what the sender should do
//	bad_room         not again: the room's id is not one
//	bad_draft        not again: an id is missing, too long, or the message is not JSON
//	bad_page         not again: the page asked for makes no sense
//	too_large        not again: the message is over the limit
//	key_reuse        not again: this client id belongs to another message
//	unknown_outcome  again, with the same client id: it may have been stored
//	unavailable      again, later: it was not stored
//	closed           again, to another node: this one is shutting down
//	pruned           load the newest page: what was asked for is gone
type Error struct {
	Code   string
	Reason string // for people; may be empty
	Cause  error  // may be nil
}

// The errors by which callers decide. Those returned wrap or refine these.
var (
	ErrBadRoom        = &Error{Code: "bad_room"}
	ErrBadDraft       = &Error{Code: "bad_draft"}
	ErrBadPage        = &Error{Code: "bad_page"}
	ErrTooLarge       = &Error{Code: "too_large"}
	ErrKeyReuse       = &Error{Code: "key_reuse"}
	ErrUnknownOutcome = &Error{Code: "unknown_outcome"}
	ErrUnavailable    = &Error{Code: "unavailable"}
	ErrClosed         = &Error{Code: "closed"}
	ErrPruned         = &Error{Code: "pruned"}
)

func (e *Error) Error() string {
	s := "parley: history: " + e.Code
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Is reports whether target has the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

func (e *Error) Unwrap() error { return e.Cause }

// Wrap returns an error of the same code that says what was being done and why it
// failed. It is for stores.
func (e *Error) Wrap(doing string, cause error) *Error {
	return &Error{Code: e.Code, Reason: doing, Cause: cause}
}

func (e *Error) because(reason string) *Error {
	return &Error{Code: e.Code, Reason: reason}
}

// Code returns the code of err for the wire: that of the first [*Error] it wraps,
// "internal" for any other error, "" for nil.
func Code(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return "internal"
}
