package history

import "errors"

// An Error is a failure whose Code is sent to clients. Values are immutable. errors.Is compares
// codes.
//
//	code             should the sender try again?
//	bad_room         no: the room id is invalid
//	bad_draft        no: an id is missing or too long, or the message is not JSON
//	bad_page         no: the requested page makes no sense
//	too_large        no: the message exceeds the limit
//	key_reuse        no: this client id belongs to another message
//	unknown_outcome  yes, with the same client id: the message may have been stored
//	unavailable      yes, later: the message was not stored
//	busy             yes, later: the client's turn to read did not come in time
//	full             yes, later: the store has no room for the message
//	closed           yes, on another node: this one is shutting down
//	pruned           no: load the newest page; the requested messages are gone
//	not_found        no: there is no such thing
//	conflict         no: it is no longer as the caller believes; see Conflict
//	not_ready        yes, later: an index is missing or still being built
//	not_supported    no: the store does not have this capability
type Error struct {
	Code   string
	Reason string // for people; may be empty
	Cause  error  // may be nil
}

// Errors for errors.Is. Returned errors have the same codes and may say more.
var (
	ErrBadRoom        = &Error{Code: "bad_room"}
	ErrBadDraft       = &Error{Code: "bad_draft"}
	ErrBadPage        = &Error{Code: "bad_page"}
	ErrTooLarge       = &Error{Code: "too_large"}
	ErrKeyReuse       = &Error{Code: "key_reuse"}
	ErrUnknownOutcome = &Error{Code: "unknown_outcome"}
	ErrUnavailable    = &Error{Code: "unavailable"}
	ErrBusy           = &Error{Code: "busy"}
	ErrFull           = &Error{Code: "full"}
	ErrClosed         = &Error{Code: "closed"}
	ErrPruned         = &Error{Code: "pruned"}
	ErrNotFound       = &Error{Code: "not_found"}
	ErrConflict       = &Error{Code: "conflict"}
	ErrNotReady       = &Error{Code: "not_ready"}
	ErrNotSupported   = &Error{Code: "not_supported"}
)

// A Conflict is the Cause of an [ErrConflict]: the thing as it is now.
type Conflict struct {
	Room    *Room
	Message *Message
}

func (c *Conflict) Error() string { return "it has changed meanwhile" }

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

// Wrap returns an error with the same code that says what failed and why. It is meant for stores.
func (e *Error) Wrap(doing string, cause error) *Error {
	return &Error{Code: e.Code, Reason: doing, Cause: cause}
}

func (e *Error) because(reason string) *Error {
	return &Error{Code: e.Code, Reason: reason}
}

// Code returns the code of err for clients: the code of the first [*Error] that err wraps,
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
