package history

import "context"

// A Member is a user or an operator: at most one of the fields is set.
type Member struct {
	UserID, OperatorID string
}

// Where counting unread messages ends.
const (
	MaxUnread  = 100  // a larger number is not known
	UnreadSpan = 1000 // of the newest numbers of a room; a message before them does not count
)

// Check returns [ErrBadDraft] unless m is a user or an operator.
func (m Member) Check() error {
	switch {
	case m.UserID == "" && m.OperatorID == "":
		return ErrBadDraft.because("neither userId nor operatorId")
	case m.UserID != "" && m.OperatorID != "":
		return ErrBadDraft.because("both userId and operatorId")
	case !validID(m.UserID, MaxMemberID):
		return ErrBadDraft.because("userId")
	case !validID(m.OperatorID, MaxMemberID):
		return ErrBadDraft.because("operatorId")
	}
	return nil
}

// A Mark says how far a member has read a room.
type Mark struct {
	Member Member
	Seq    int64 // everything up to this number was read
	At     Time  // when it was set
}

// Reads is the capability of a store to know what members have read.
type Reads interface {
	// MarkRead sets a member's mark to seq, or to the room's newest number if that is smaller. A mark
	// never goes back: with a smaller seq the present mark is returned. In a room that does not exist,
	// nothing changes.
	MarkRead(ctx context.Context, room string, by Member, seq int64) (Marked, error)
	// MarkUnread sets a member's mark back, so that the message seq is the first unread one. It never
	// moves a mark forward.
	MarkUnread(ctx context.Context, room string, by Member, seq int64) (Marked, error)
	// Marks returns the marks of all members of a room who have one, operators first, in the order
	// of their ids.
	Marks(ctx context.Context, room string) ([]Mark, error)
}

// Marked is the outcome of setting a mark.
type Marked struct {
	Seq int64 // the mark now
	// Unread is the number of messages after it that others wrote and nobody deleted, up to MaxUnread
	// and among the room's last UnreadSpan numbers. In a conversation, others are the other side: users for an operator, operators for a user.
	Unread int
	Moved  bool // it has changed
}

// unread reports whether a message after the member's mark counts as unread, in a conversation or in
// another room.
func (m Member) unread(message *Message, conversation bool) bool {
	switch by := message.Author(); {
	case message.Deleted, m == Member{}:
		return false
	case conversation:
		return (by.OperatorID == "") != (m.OperatorID == "")
	default:
		return by != m
	}
}
