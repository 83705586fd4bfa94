package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/parley-go/parley/history"
	packed "github.com/parley-go/parley/history/internal/changes"
)

// A commit writes the changelog only while there is a follower: the writer knows whether there is.
// The positions of followers never exceed the newest change, and what is deleted has been passed by
// all of them. So positions are not given twice.
const (
	followQuery = `SELECT EXISTS (SELECT 1 FROM followers), max(
		coalesce((SELECT max(position) FROM changelog), 0),
		coalesce((SELECT max(position) FROM followers), 0)), EXISTS (SELECT 1 FROM erased)`

	changesQuery = "SELECT position, changes FROM changelog WHERE position > ? ORDER BY position"

	namesQuery = "SELECT id, room_id FROM rooms WHERE id IN (SELECT value FROM json_each(?))"

	passedQuery = `DELETE FROM changelog WHERE position IN (SELECT position FROM changelog
		WHERE position <= coalesce((SELECT min(position) FROM followers), 9223372036854775807) ORDER BY position LIMIT ?)`
)

// changes is what a writer knows of the changelog.
type changes struct {
	followed bool
	position int64  // of the newest change
	packed   []byte // those of the running transaction
}

// Changed implements [appending.Transaction]. Every change of a room calls it, after refresh.
func (w *writer) Changed(kind history.ChangeKind, room, number, seq int64) {
	c := &w.changes
	if !c.followed {
		return
	}
	c.position++
	c.packed = packed.Append(c.packed, packed.Change{Kind: kind, Room: room, Number: number, Seq: seq})
}

// writeChanges writes what the transaction has changed: one row for a commit, because a row for each
// change makes appends a third slower.
func (w *writer) writeChanges(ctx context.Context) error {
	if len(w.changes.packed) == 0 {
		return nil
	}
	_, err := w.changelog.ExecContext(ctx, w.changes.position, w.changes.packed)
	return err
}

// tellFollower wakes the goroutine that follows within the store.
func (w *writer) tellFollower() {
	if len(w.changes.packed) == 0 {
		return
	}
	w.changes.packed = w.changes.packed[:0]
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
func (s *Store) ReadChanges(ctx context.Context, after int64, limit int) (read []history.Change, err error) {
	err = s.read(ctx, func(r *reader) error {
		changes, err := r.changes(ctx, after, limit)
		if err != nil {
			return err
		}
		names, err := r.namesOf(ctx, changes)
		read = packed.Named(changes, names)
		return err
	})
	return read, err
}

func (r *reader) changes(ctx context.Context, after int64, limit int) (changes []packed.Change, err error) {
	limit = max(1, min(limit, packed.Chunk))
	rows, err := r.changelog.QueryContext(ctx, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for len(changes) < limit && rows.Next() {
		var position int64
		var row []byte
		if err := rows.Scan(&position, &row); err != nil {
			return nil, err
		}
		if changes, err = packed.Unpack(changes, row, position, 0, after, limit); err != nil {
			return nil, err
		}
	}
	return changes, rows.Err()
}

// newestChange returns the position of the newest change that a follower has not passed, or 0.
func (s *Store) newestChange(ctx context.Context) (position int64, err error) {
	err = s.read(ctx, func(r *reader) error {
		return r.conn.QueryRowContext(ctx, "SELECT coalesce(max(position), 0) FROM changelog").Scan(&position)
	})
	return position, err
}

// namesOf returns the names of the rooms that exist.
func (r *reader) namesOf(ctx context.Context, changes []packed.Change) (map[int64]string, error) {
	names := make(map[int64]string)
	for _, c := range changes {
		names[c.Room] = ""
	}
	numbers, err := json.Marshal(slices.Collect(maps.Keys(names)))
	if err != nil {
		return nil, err
	}
	rows, err := r.conn.QueryContext(ctx, namesQuery, string(numbers))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return nil, err
		}
		names[id] = name
	}
	return names, rows.Err()
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
				r, err := w.conn.ExecContext(ctx, passedQuery, packed.Chunk)
				if err != nil {
					return err
				}
				n, err := r.RowsAffected()
				if err != nil {
					return err
				}
				more = n == packed.Chunk
				return w.conn.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM followers)").Scan(&w.changes.followed)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
