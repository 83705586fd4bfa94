package appending

import (
	"context"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
)

// Transaction is a transaction of a store. What it is told to store it may write later, before it commits.
type Transaction interface {
	// Room returns a room as it is after the previous changes, to change it. If it does not exist, it will.
	Room(ctx context.Context, name string) (*Room, error)
	// Original returns the message that is known by the client id of a draft, if the transaction looks for it.
	Original(ctx context.Context, r *Room, d *history.Draft) (m history.Message, found bool, err error)
	// Begin makes an absent room a conversation that has no messages yet, which is its first change.
	Begin(ctx context.Context, name string, r *Room, c *history.Conversation) error
	// Bump gives the next change to a room if that is a conversation.
	Bump(r *Room)
	// Changed notes a change for the changelog. number and seq are those of history.Change.
	Changed(kind history.ChangeKind, room, number, seq int64)
	// Add stores a new message.
	Add(r *Room, m *history.Message)
}

// Key is the scope in which a message is stored once.
type Key struct {
	Room             int64
	Author, ClientID string
}

// KeyOf returns the key of an author's message in a room.
func KeyOf(room int64, by history.Member, clientID string) Key {
	return Key{room, cell.Member(by), clientID}
}

// Append gives numbers to the drafts that have no error yet, and fills in the results. After an error nothing may
// be committed.
func Append(ctx context.Context, t Transaction, drafts []history.Draft, results []history.Appended, now int64) error {
	for i := range drafts {
		d, result := &drafts[i], &results[i]
		if result.Err != nil {
			continue
		}
		r, err := t.Room(ctx, d.RoomID)
		if err != nil {
			return err
		}
		if d.ClientID != "" {
			original, found, err := t.Original(ctx, r, d)
			if err != nil {
				return err
			}
			if found {
				*result = history.Appended{Message: original, Dup: true}
				if original.Rev == 0 && string(original.Message) != string(d.Message) {
					*result = history.Appended{Err: history.ErrKeyReuse}
				}
				continue
			}
		}
		if err := r.Full(); err != nil {
			*result = history.Appended{Err: err}
			continue
		}
		begins := r.Absent && d.Conversation != nil
		if begins {
			if err := t.Begin(ctx, d.RoomID, r, d.Conversation); err != nil {
				return err
			}
		}
		r.Absent, r.Dirty = false, true
		r.Head++
		r.LastAt = max(r.LastAt, now)
		*result = history.Appended{Message: history.Message{
			ID:         cell.MessageID(r.ID, r.Head),
			RoomID:     d.RoomID,
			Seq:        r.Head,
			UserID:     d.UserID,
			OperatorID: d.OperatorID,
			Message:    d.Message,
			Timestamp:  history.TimeMilli(r.LastAt),
			ClientID:   d.ClientID,
		}}
		if r.Conversation != nil {
			r.Conversation.receive(&result.Message, d.KeepOperator)
			if !begins {
				t.Bump(r)
			}
		}
		t.Changed(history.MessageAdded, r.ID, r.Head, r.Head)
		t.Add(r, &result.Message)
	}
	return nil
}

// Edit gives a message of a room, which is not full, the content of an edit and the next number. It returns the
// content as it is stored.
func Edit(t Transaction, r *Room, m *history.Message, e *history.Edit, now int64) (content string) {
	r.Head++
	r.Dirty = true
	t.Bump(r)
	m.Rev, m.EditedAt = r.Head, history.TimeMilli(max(now, r.LastAt))
	m.Message, m.Deleted = e.Message, e.Message == nil
	t.Changed(history.MessageChanged, r.ID, m.Rev, m.Seq)
	if m.Deleted {
		return "null"
	}
	return string(m.Message)
}
