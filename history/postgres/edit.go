package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/appending"
	"github.com/parley-go/parley/history/internal/reading"
)

// Message implements [history.Editor].
func (s *Store) Message(ctx context.Context, room string, seq int64) (m history.Message, err error) {
	if err := history.CheckRoom(room); err != nil {
		return m, err
	}
	var floor int64
	found := false
	err = s.snapshot(ctx, func(ctx context.Context, q querier) error {
		floor, found = 0, false
		var id int64
		err := q.QueryRow(ctx, "SELECT id, floor FROM parley.rooms WHERE room_id = $1", room).Scan(&id, &floor)
		if err == nil {
			err = message(ctx, q, room, id, seq, &m)
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err
	})
	if err == nil && !found {
		return history.Message{}, reading.Missing(seq, floor)
	}
	return m, err
}

// message reads a message.
func message(ctx context.Context, q querier, name string, room, seq int64, m *history.Message) error {
	return scanMessage(q.QueryRow(ctx, "SELECT "+columns+" FROM parley.messages m WHERE room = $1 AND seq = $2", room, seq), name, m)
}

// Edit implements [history.Editor]. The earlier content stays in the files of the server until they are
// vacuumed and written again. Canceling ctx has an effect only until it is the edit's turn.
func (s *Store) Edit(ctx context.Context, e history.Edit) (edited history.Edited, err error) {
	if e, err = e.Prepare(); err != nil {
		return edited, err
	}
	err = s.write(ctx, "edit", func(ctx context.Context, t *tx) (err error) {
		edited, err = t.edit(ctx, &e)
		return err
	})
	if err != nil {
		return history.Edited{}, err
	}
	return edited, nil
}

// notesOf returns the room of a note, which is made if it does not exist.
func notesOf(note *history.Draft) []string {
	if note == nil {
		return nil
	}
	return []string{note.RoomID}
}

func (t *tx) edit(ctx context.Context, e *history.Edit) (edited history.Edited, err error) {
	if err := t.lock(ctx, nil, notesOf(e.Note), []string{e.RoomID}); err != nil {
		return edited, err
	}
	r := t.rooms[e.RoomID]
	if r == nil {
		return edited, history.ErrNotFound
	}
	m := &edited.Message
	err = message(ctx, t.conn, e.RoomID, r.ID, e.Seq, m)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return edited, reading.Missing(e.Seq, r.floor)
	case err != nil:
		return edited, err
	}
	if edited.Changed, err = e.Changes(m); err != nil || !edited.Changed {
		return edited, err
	}
	if err := r.Full(); err != nil {
		return edited, err
	}
	if edited.Note, err = t.note(ctx, e.Note); err != nil {
		return edited, err
	}
	content := appending.Edit(t, &r.Room, m, e, t.now)
	t.writes.Queue("UPDATE parley.messages SET message = $3, rev = $4, deleted = $5, edited_at = $6 WHERE room = $1 AND seq = $2",
		r.ID, m.Seq, content, m.Rev, m.Deleted, m.EditedAt.UnixMilli())
	return edited, nil
}
