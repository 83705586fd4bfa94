package history

import (
	"context"
	"errors"
)

// Edit changes a message, as [Editor] says, and passes the change on to everyone who has the room
// open. If the message is already so, Edit passes it on again, because the node that changed it may
// have died before it could do so. The content may have MaxMessage bytes, as that of Append. If the
// store is no Editor, the error is [ErrNotSupported].
func (l *Log) Edit(ctx context.Context, e Edit) (edited Edited, err error) {
	editor, ok := l.store.(Editor)
	if !ok {
		return Edited{}, ErrNotSupported
	}
	if e, err = e.Prepare(); err != nil {
		return Edited{}, err
	}
	if len(e.Message) > l.maxMessage {
		return Edited{}, ErrTooLarge
	}
	err = l.change(func() error {
		edited, err = editor.Edit(ctx, e)
		return err
	}, func() {
		l.passOn(&edited.Message)
		l.passOn(edited.Note)
	}, e.RoomID, noteRoom(e.Note))
	return edited, err
}

// UpdateRoom changes a conversation, as [Rooms] says, and passes the note on to everyone who has the
// notes open. If the store is not Rooms, the error is [ErrNotSupported].
func (l *Log) UpdateRoom(ctx context.Context, u RoomUpdate) (updated Updated, err error) {
	rooms, ok := l.store.(Rooms)
	if !ok {
		return Updated{}, ErrNotSupported
	}
	err = l.change(func() error {
		updated, err = rooms.UpdateRoom(ctx, u)
		return err
	}, func() { l.passOn(updated.Note) }, noteRoom(u.Note))
	return updated, err
}

// CreateRoom makes a conversation, as [Rooms] says. If the store is not Rooms, the error is
// [ErrNotSupported].
func (l *Log) CreateRoom(ctx context.Context, room string, c Conversation) (created Room, err error) {
	rooms, ok := l.store.(Rooms)
	if !ok {
		return Room{}, ErrNotSupported
	}
	err = l.change(func() error {
		created, err = rooms.CreateRoom(ctx, room, c)
		return err
	}, func() {})
	return created, err
}

// Merge makes a visitor's conversations those of a user, as [People] says, and passes the notes on to
// everyone who has them open. If the store is not People, the error is [ErrNotSupported].
func (l *Log) Merge(ctx context.Context, visitor, user string, note func(room string) *Draft) (merged []Updated, err error) {
	people, ok := l.store.(People)
	if !ok {
		return nil, ErrNotSupported
	}
	var noted []string
	err = l.change(func() error {
		merged, err = people.Merge(ctx, visitor, user, func(room string) (d *Draft) {
			if note != nil {
				d = note(room)
			}
			noted = append(noted, noteRoom(d))
			return d
		})
		return err
	}, func() {
		for i := range merged {
			l.passOn(merged[i].Note)
		}
	})
	if errors.Is(err, ErrUnknownOutcome) {
		l.doubt(noted...)
	}
	return merged, err
}

// change calls commit, and then passOn if it succeeds. If its outcome is unknown, there may be changes
// in rooms that nobody reports.
func (l *Log) change(commit func() error, passOn func(), rooms ...string) error {
	if !l.workers.begin() {
		return ErrClosed
	}
	defer l.workers.end()
	err := commit()
	switch {
	case err == nil:
		passOn()
	case errors.Is(err, ErrUnknownOutcome):
		l.doubt(rooms...)
	default:
		return err
	}
	l.changed()
	return err
}

func noteRoom(note *Draft) string {
	if note == nil {
		return ""
	}
	return note.RoomID
}

// OnChange makes the log call f after each of its commits, and when one may have been made: a hint
// that conversations may have changed. f must not block. A log has one such function.
func (l *Log) OnChange(f func()) { l.onChange.Store(&f) }

func (l *Log) changed() {
	if f := l.onChange.Load(); f != nil {
		(*f)()
	}
}

// publish passes on what a commit has stored, in order. The batcher calls it before it notifies the
// waiting callers, so that many messages for one room are delivered together.
func (l *Log) publish(stored []Appended) {
	for i := range stored {
		if stored[i].Err == nil {
			l.passOn(&stored[i].Message)
		}
	}
	l.changed()
}

// passOn passes on a stored or changed message, unless it is nil, to everyone who has its room open.
func (l *Log) passOn(m *Message) {
	if m == nil {
		return
	}
	if t := l.tail(m.RoomID); t != nil {
		t.offer(*m)
	}
	if l.bus != nil {
		kept := *m // otherwise the bus would keep the whole commit alive
		l.bus.Publish(&kept)
	}
}

// uncertain is called when it is unknown whether a commit has stored its drafts.
func (l *Log) uncertain(drafts []Draft) {
	for i := range drafts {
		l.doubt(drafts[i].RoomID)
	}
	l.changed()
}

// doubt notes that there may be changes that nobody reports. Who asked for them may never come back
// to find out, and then everyone who has the room open would miss them.
func (l *Log) doubt(rooms ...string) {
	for _, room := range rooms {
		if t := l.tail(room); t != nil {
			t.doubt()
		}
	}
}

// tail returns the tail of a room that is open, or nil.
func (l *Log) tail(room string) *tail {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tails[room]
}
