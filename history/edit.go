package history

import (
	"context"
	"encoding/json"
)

// Editor is the capability of a store to change messages.
type Editor interface {
	// Message returns one message. If there is none, the error is ErrNotFound; if it was pruned,
	// ErrPruned.
	Message(ctx context.Context, room string, seq int64) (Message, error)
	// Edit changes a message. The change takes the room's next number, which is the message's Rev
	// from then on. If the message already is so, nothing changes and no number is taken. If IfRev
	// does not hold, the error is ErrConflict, with the message as it is. A deleted message stays
	// deleted: the error is ErrConflict as well.
	Edit(ctx context.Context, e Edit) (Edited, error)
}

// Edit is a change of a message. No earlier content is kept anywhere.
type Edit struct {
	RoomID string
	Seq    int64
	// Message is the new content, any JSON. Nil makes the message a tombstone.
	Message json.RawMessage
	// IfRev, if not zero, is the number that the message's last change must have; see
	// Message.Number.
	IfRev int64
	// Note, if not nil, is appended to another room in the same commit.
	Note *Draft
}

// Edited is the outcome of an edit.
type Edited struct {
	Message Message
	Changed bool     // false: the message was already so
	Note    *Message // the stored note; nil if none was
}
