package history

import (
	"bytes"
	"context"
	"encoding/json"
)

// Editor is the capability of a store to change messages.
type Editor interface {
	// Message returns one message. If there is none, the error is ErrNotFound; if it was pruned,
	// ErrPruned.
	Message(ctx context.Context, room string, seq int64) (Message, error)
	// Edit changes a message. The change takes the room's next number, which is the message's Rev
	// from then on. If the message already is so, nothing changes and no number is taken, whatever
	// IfRev says: so you may repeat an edit. If IfRev does not hold, the error is ErrConflict, with
	// the message as it is. A deleted message stays deleted: the error is ErrConflict as well. If
	// there is no such message, the error is ErrNotFound; if it was pruned, ErrPruned.
	Edit(ctx context.Context, e Edit) (Edited, error)
}

// Edit is a change of a message. Nobody can get the earlier content. Its bytes may stay in a store's files
// for a while; the store says for how long.
type Edit struct {
	RoomID string
	Seq    int64
	// Message is the new content, any JSON. Nil makes the message a tombstone.
	Message json.RawMessage
	// IfRev, if not zero, is the number that the message's last change must have; see
	// Message.Number.
	IfRev int64
	// Note, if not nil, is appended to another room in the same commit. If it cannot be, nothing
	// changes.
	Note *Draft

	prepared bool
}

// Prepare checks the edit against the limits. It returns the edit with its content and its note as
// they are stored; see [Draft.Prepare]. Stores prepare every edit that they receive.
func (e Edit) Prepare() (Edit, error) {
	if e.prepared {
		return e, nil
	}
	if err := CheckRoom(e.RoomID); err != nil {
		return e, err
	}
	if e.Message != nil {
		var err error
		if e.Message, err = prepareContent(e.Message); err != nil {
			return e, err
		}
	}
	if e.Note != nil {
		note, err := e.Note.Prepare()
		switch {
		case err != nil:
			return e, err
		case note.RoomID == e.RoomID:
			return e, ErrBadDraft.because("a note in the room of its message")
		}
		e.Note = &note
	}
	e.prepared = true
	return e, nil
}

// Changes reports whether a prepared edit changes m. If it must not, the error is [ErrConflict].
// Stores call it in the commit.
func (e *Edit) Changes(m *Message) (bool, error) {
	deletes := e.Message == nil
	switch {
	case m.Deleted == deletes && (deletes || bytes.Equal(m.Message, e.Message)):
		return false, nil
	case m.Deleted, e.IfRev != 0 && e.IfRev != m.Number():
		return false, ErrConflict.Wrap("edit", &Conflict{Message: m})
	}
	return true, nil
}

// Edited is the outcome of an edit.
type Edited struct {
	Message Message
	Changed bool     // false: the message was already so
	Note    *Message // the stored note; nil if none was
}
