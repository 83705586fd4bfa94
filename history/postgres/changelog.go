package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/changes"
)

// Commits write the changelog only while there is a follower. Whether there is stays the same during a
// transaction: whoever changes it waits for all that run, at the gate. Positions come from the counters,
// so they become visible in order.

// passedQuery deletes what all followers have passed, and reports whether there may be more of it.
const passedQuery = `WITH passed AS (DELETE FROM parley.changelog WHERE position IN (SELECT position FROM parley.changelog
	WHERE position <= coalesce((SELECT min(position) FROM parley.followers), 9223372036854775807)
	ORDER BY position LIMIT $1) RETURNING 1) SELECT count(*) = $1 FROM passed`

// begin begins a transaction on a connection that is nobody else's, and commits it after f.
func begin(ctx context.Context, conn *pgxpool.Conn, f func(pgx.Tx) error) error {
	committing := false
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		err := f(tx)
		committing = err == nil
		return err
	})
	if err != nil && committing && !refuses(err) {
		return history.ErrUnknownOutcome.Wrap("commit", err)
	}
	return err
}

// FollowChanges implements [history.Changelog].
func (s *Store) FollowChanges(ctx context.Context, name string) (position int64, err error) {
	err = s.writing(ctx, "follow changes", func(ctx context.Context, conn *pgxpool.Conn) error {
		return begin(ctx, conn, func(tx pgx.Tx) (err error) {
			position, err = follow(ctx, tx, name)
			return err
		})
	})
	return position, err
}

func follow(ctx context.Context, tx pgx.Tx, name string) (position int64, err error) {
	find := func() error {
		return tx.QueryRow(ctx, "SELECT position FROM parley.followers WHERE name = $1", name).Scan(&position)
	}
	if err := find(); !errors.Is(err, pgx.ErrNoRows) {
		return position, err
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", gateLock); err != nil {
		return 0, err
	}
	if err := find(); !errors.Is(err, pgx.ErrNoRows) {
		return position, err
	}
	if err := tx.QueryRow(ctx, "UPDATE parley.counters SET followed = true RETURNING position").Scan(&position); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, "INSERT INTO parley.followers VALUES ($1, $2)", name, position)
	return position, err
}

// ReadChanges implements [history.Changelog].
func (s *Store) ReadChanges(ctx context.Context, after int64, limit int) (read []history.Change, err error) {
	err = s.snapshot(ctx, func(ctx context.Context, q querier) error {
		entries, err := readChanges(ctx, q, after, limit)
		if err != nil {
			return err
		}
		var rooms []int64
		for _, e := range entries {
			rooms = append(rooms, e.Room)
		}
		names := make(map[int64]string)
		rows, err := q.Query(ctx, "SELECT id, room_id FROM parley.rooms WHERE id = ANY($1)", rooms)
		if err != nil {
			return err
		}
		var id int64
		var name string
		_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error { names[id] = name; return nil })
		read = changes.Named(entries, names)
		return err
	})
	return read, err
}

func readChanges(ctx context.Context, q querier, after int64, limit int) (entries []changes.Change, err error) {
	limit = max(1, min(limit, changes.Chunk))
	// Each row has at least one change.
	rows, err := q.Query(ctx, "SELECT position, base, changes FROM parley.changelog WHERE position > $1 ORDER BY position LIMIT $2", after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for len(entries) < limit && rows.Next() {
		var position, base int64
		var packed []byte
		if err := rows.Scan(&position, &base, &packed); err != nil {
			return nil, err
		}
		if entries, err = changes.Unpack(entries, packed, position, base, after, limit); err != nil {
			return nil, err
		}
	}
	return entries, rows.Err()
}

// PassChanges implements [history.Changelog].
func (s *Store) PassChanges(ctx context.Context, name string, position int64) error {
	return s.forgetChanges(ctx, "pass changes", false, `UPDATE parley.followers SET position = greatest(position, least($2,
		(SELECT position FROM parley.counters))) WHERE name = $1`, name, position)
}

// Unfollow implements [history.Changelog].
func (s *Store) Unfollow(ctx context.Context, name string) error {
	return s.forgetChanges(ctx, "unfollow changes", true, "DELETE FROM parley.followers WHERE name = $1", name)
}

// forgetChanges changes the followers. Then it deletes what nobody needs any more, a part in each
// transaction. alone says that the followers may become none.
func (s *Store) forgetChanges(ctx context.Context, doing string, alone bool, change string, args ...any) error {
	for more := true; more; {
		err := s.writing(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
			return begin(ctx, conn, func(tx pgx.Tx) error {
				var b pgx.Batch
				if alone {
					b.Queue("SELECT pg_advisory_xact_lock($1)", gateLock)
				}
				b.Queue(change, args...)
				b.Queue(passedQuery, changes.Chunk).QueryRow(
					func(row pgx.Row) error { return row.Scan(&more) })
				if alone {
					b.Queue(`UPDATE parley.counters SET followed = false
						WHERE followed AND NOT EXISTS (SELECT 1 FROM parley.followers)`)
				}
				return tx.SendBatch(ctx, &b).Close()
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
