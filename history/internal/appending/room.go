// Package appending is how transactions of both databases change rooms: which messages are stored, with which
// numbers, and what becomes of a conversation.
package appending

import (
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
)

// Room is what a transaction knows of a room that it may change.
type Room struct {
	ID, Head, LastAt int64
	Conversation     *Conversation // nil: the room belongs to nobody
	Absent           bool          // the room is new, and nothing needs it yet
	Dirty            bool          // the row must be written
}

// maxNumber is the largest number of a room: half of a message's id.
const maxNumber = 1<<32 - 1

// ErrFull is the error of a room that has no number left.
var ErrFull = history.ErrUnavailable.Wrap("the room is full", nil)

// Full returns ErrFull if the room has no number left.
func (r *Room) Full() error {
	if r.Head >= maxNumber {
		return ErrFull
	}
	return nil
}

// Conversation is what messages change in a room that belongs to a user.
type Conversation struct {
	UserID, OperatorID  string
	Status              history.Status
	ClosedAt, WaitingAt int64 // 0: not
	Change              int64 // the number of its last change among all conversations, as the transaction counts them
	Merged              bool  // the user was a visitor, perhaps in this room
}

// MergedInto reports whether the author of d may have sent the same message before as a visitor. c may be nil.
func (c *Conversation) MergedInto(d *history.Draft) bool {
	return c != nil && c.Merged && d.OperatorID == "" && d.UserID == c.UserID
}

// Set takes over what a transaction knows of a room. Another user may have been a visitor.
func (c *Conversation) Set(r *history.Room) {
	c.UserID, c.Merged = r.UserID, c.Merged || c.UserID != r.UserID
	c.OperatorID, c.Status = r.OperatorID, r.Status
	c.ClosedAt, c.WaitingAt = cell.Milli(r.ClosedAt), cell.Milli(r.WaitingSince)
}

// receive changes the conversation as a new message does, and tells an operator's message its user.
func (c *Conversation) receive(m *history.Message, keep func(string) bool) {
	if m.OperatorID != "" {
		m.UserID = c.UserID
	}
	r := history.Room{
		UserID: c.UserID, OperatorID: c.OperatorID, Status: c.Status, ClosedAt: cell.Time(c.ClosedAt), WaitingSince: cell.Time(c.WaitingAt),
	}
	r.Receive(m, keep)
	c.Set(&r)
}
