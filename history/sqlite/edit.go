package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/appending"
	"github.com/parley-go/parley/history/internal/reading"
)

const messageQuery = "SELECT " + columns + " FROM messages m WHERE id = ?"

// Message implements [history.Editor].
func (s *Store) Message(ctx context.Context, room string, seq int64) (m history.Message, err error) {
	err = history.ErrNotFound
	_, e := s.readRoom(ctx, room, &history.Limit{}, func(r *reader, id int64, s *history.Slice) error {
		var known bool
		if m, known, err = message(ctx, r.message, room, id, seq); err == nil && !known {
			err = reading.Missing(seq, s.Floor)
		}
		return nil
	})
	if e != nil {
		err = e
	}
	return m, err
}

// message reads a message by its seq.
func message(ctx context.Context, stmt *sql.Stmt, name string, room, seq int64) (m history.Message, found bool, err error) {
	if seq < 1 || seq >= 1<<32 {
		return m, false, nil
	}
	err = scanMessage(stmt.QueryRowContext(ctx, room<<32|seq), name, &m)
	if errors.Is(err, sql.ErrNoRows) {
		return history.Message{}, false, nil
	}
	return m, err == nil, err
}

// Edit implements [history.Editor]. Canceling ctx has an effect only until it is the edit's turn.
func (s *Store) Edit(ctx context.Context, e history.Edit) (edited history.Edited, err error) {
	if e, err = e.Prepare(); err != nil {
		return edited, err
	}
	defer func() {
		if edited.Changed || err != nil {
			s.residue.Store(true)
		}
	}()
	err = s.together(ctx, "edit", func(ctx context.Context, b *batch) (err error) {
		edited, err = b.edit(ctx, &e)
		return err
	})
	if err != nil {
		return history.Edited{}, err
	}
	return edited, nil
}

func (b *batch) edit(ctx context.Context, e *history.Edit) (edited history.Edited, err error) {
	known, found, err := b.find(ctx, e.RoomID)
	if err != nil {
		return edited, err
	}
	if !found {
		return edited, refused{history.ErrNotFound}
	}
	m, found, err := message(ctx, b.message, e.RoomID, known.ID, e.Seq)
	if err != nil {
		return edited, err
	}
	if !found {
		var floor int64
		if err := b.floor.QueryRowContext(ctx, known.ID).Scan(&floor); err != nil {
			return edited, err
		}
		return edited, refused{reading.Missing(e.Seq, floor)}
	}
	edited.Message = m
	if edited.Changed, err = e.Changes(&m); err != nil {
		return edited, refused{err}
	}
	if !edited.Changed {
		return edited, nil
	}
	r, err := b.Room(ctx, e.RoomID)
	if err != nil {
		return edited, err
	}
	if err := r.Full(); err != nil {
		return edited, refused{err}
	}
	if edited.Note, err = b.note(ctx, e.Note); err != nil {
		return edited, err
	}
	content := appending.Edit(b, r, &m, e, b.now)
	_, err = b.writer.edit.ExecContext(ctx, content, m.Rev, m.Deleted, m.EditedAt.UnixMilli(), r.ID<<32|m.Seq)
	edited.Message = m
	return edited, err
}

// note appends a note if it is not nil. If it cannot be stored, the error is refused.
func (b *batch) note(ctx context.Context, note *history.Draft) (*history.Message, error) {
	if note == nil {
		return nil, nil
	}
	var result [1]history.Appended
	b.replays = true
	if err := appending.Append(ctx, b, []history.Draft{*note}, result[:], b.now); err != nil {
		return nil, err
	}
	if result[0].Err != nil {
		return nil, refused{result[0].Err}
	}
	return &result[0].Message, nil
}
