package history

import (
	"context"
	"encoding/json"
	"slices"
)

// Message implements [Editor].
func (s *Memory) Message(ctx context.Context, room string, seq int64) (m Message, err error) {
	missing := error(ErrNotFound)
	err = s.read(ctx, room, func(r *memoryRoom) error {
		if known := r.message(seq); known != nil {
			m, missing = *known, nil
		} else {
			missing = r.missing(seq)
		}
		return nil
	})
	if err == nil {
		err = missing
	}
	return m, err
}

// Edit implements [Editor].
func (s *Memory) Edit(ctx context.Context, e Edit) (edited Edited, err error) {
	if e, err = e.Prepare(); err != nil {
		return Edited{}, err
	}
	err = s.write(ctx, "edit", func(now int64) error {
		room := s.rooms[e.RoomID]
		if room == nil {
			return ErrNotFound
		}
		m := room.message(e.Seq)
		if m == nil {
			return room.missing(e.Seq)
		}
		edited.Message = *m
		if edited.Changed, err = e.Changes(m); err != nil || !edited.Changed {
			return err
		}
		if e.Note != nil {
			note := s.appendLocked(*e.Note, now)
			if note.Err != nil {
				return note.Err
			}
			edited.Note = &note.Message
		}
		edited.Message = room.edit(e.Seq, e.Message, now)
		s.changedLocked(room)
		s.logLocked(MessageChanged, room.name, edited.Message.Rev, e.Seq)
		return nil
	})
	if err != nil {
		return Edited{}, err
	}
	return edited, nil
}

// missing returns why there is no message with a seq.
func (r *memoryRoom) missing(seq int64) error {
	if seq > 0 && seq <= r.floor {
		return ErrPruned
	}
	return ErrNotFound
}

// edit changes a message, which takes the next number.
func (r *memoryRoom) edit(seq int64, content json.RawMessage, now int64) Message {
	m := r.message(seq)
	r.edited = slices.DeleteFunc(r.edited, func(s int64) bool { return s == seq })
	r.edited = append(r.edited, seq)
	r.head++
	m.Rev = r.head
	m.Message = content
	m.Deleted = content == nil
	m.EditedAt = TimeMilli(max(now, r.lastAt))
	return *m
}
