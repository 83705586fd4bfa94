package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/parley-go/parley/history"
)

// A commit writes the changelog only while there is a follower: the writer knows whether there is.
// The positions of followers never exceed the newest change, and what is deleted has been passed by
// all of them. So positions are not given twice.
const (
	followQuery = `SELECT EXISTS (SELECT 1 FROM followers), max(
		coalesce((SELECT max(position) FROM changelog), 0),
		coalesce((SELECT max(position) FROM followers), 0)), EXISTS (SELECT 1 FROM erased)`

	changesQuery = `SELECT c.position, c.kind, coalesce(r.room_id, ''), c.number, coalesce(c.seq, c.number), c.room
		FROM changelog c LEFT JOIN rooms r ON r.id = c.room WHERE c.position > ? ORDER BY c.position LIMIT ?`

	passedQuery = `DELETE FROM changelog WHERE position IN (SELECT position FROM changelog
		WHERE position <= coalesce((SELECT min(position) FROM followers), 9223372036854775807) ORDER BY position LIMIT ?)`

	changeColumns = 5
	forgetChunk   = 1000 // changes that are deleted in one commit
)

// changes is what a writer knows of the changelog.
type changes struct {
	followed bool
	position int64 // of the newest change
	rows     []any // of the running transaction
}

// changed notes a change of the running transaction. Every change of a room calls it, after refresh.
// number and seq are those of history.Change.
func (w *writer) changed(kind history.ChangeKind, room, number, seq int64) {
	c := &w.changes
	if !c.followed {
		return
	}
	c.position++
	var other any
	if seq != number {
		other = seq
	}
	c.rows = append(c.rows, c.position, room, int64(kind), number, other)
}

// writeChanges writes what the transaction has changed.
func (w *writer) writeChanges(ctx context.Context) error {
	if len(w.changes.rows) == 0 {
		return nil
	}
	return insert(ctx, &w.changelog, w.changes.rows, changeColumns)
}

// tellFollower wakes the goroutine that follows within the store.
func (w *writer) tellFollower() {
	if len(w.changes.rows) == 0 {
		return
	}
	w.changes.rows = w.changes.rows[:0]
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// FollowChanges implements [history.Changelog].
func (s *Store) FollowChanges(ctx context.Context, name string) (position int64, err error) {
	err = s.write(ctx, "follow changes", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() error {
			if err := w.refresh(ctx); err != nil {
				return err
			}
			err := w.conn.QueryRowContext(ctx, "SELECT position FROM followers WHERE name = ?", name).Scan(&position)
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			position = w.changes.position
			_, err = w.conn.ExecContext(ctx, "INSERT INTO followers VALUES (?, ?)", name, position)
			w.changes.followed = true // an error replaces the writer
			return err
		})
	})
	return position, err
}

// ReadChanges implements [history.Changelog].
func (s *Store) ReadChanges(ctx context.Context, after int64, limit int) ([]history.Change, error) {
	rows, err := s.readChanges(ctx, after, limit)
	changes := make([]history.Change, len(rows))
	for i, c := range rows {
		changes[i] = c.Change
	}
	return changes, err
}

// change is a row of the changelog.
type change struct {
	history.Change
	room int64
}

func (s *Store) readChanges(ctx context.Context, after int64, limit int) (changes []change, err error) {
	err = s.read(ctx, func(r *reader) error {
		rows, err := r.changelog.QueryContext(ctx, after, max(1, min(limit, forgetChunk)))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c change
			if err := rows.Scan(&c.Position, &c.Kind, &c.RoomID, &c.Number, &c.Seq, &c.room); err != nil {
				return err
			}
			if c.Kind == history.RoomErased {
				c.RoomID = "" // the number of a room is not given twice, but its name can be
			}
			changes = append(changes, c)
		}
		return rows.Err()
	})
	return changes, err
}

// PassChanges implements [history.Changelog].
func (s *Store) PassChanges(ctx context.Context, name string, position int64) error {
	return s.forgetChanges(ctx, "pass changes", func(ctx context.Context, w *writer) error {
		_, err := w.conn.ExecContext(ctx, "UPDATE followers SET position = max(position, min(?, ?)) WHERE name = ?",
			position, w.changes.position, name)
		return err
	})
}

// Unfollow implements [history.Changelog].
func (s *Store) Unfollow(ctx context.Context, name string) error {
	return s.forgetChanges(ctx, "unfollow changes", func(ctx context.Context, w *writer) error {
		_, err := w.conn.ExecContext(ctx, "DELETE FROM followers WHERE name = ?", name)
		return err
	})
}

// forgetChanges changes the followers. Then it deletes what nobody needs any more, a part in each
// turn of the writer.
func (s *Store) forgetChanges(ctx context.Context, doing string, change func(context.Context, *writer) error) error {
	for more := true; more; {
		err := s.write(ctx, doing, func(ctx context.Context, w *writer) error {
			return w.transact(ctx, func() error {
				if err := w.refresh(ctx); err != nil {
					return err
				}
				if err := change(ctx, w); err != nil {
					return err
				}
				r, err := w.conn.ExecContext(ctx, passedQuery, forgetChunk)
				if err != nil {
					return err
				}
				n, err := r.RowsAffected()
				more = n == forgetChunk
				w.version = -1 // whether anybody follows
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
