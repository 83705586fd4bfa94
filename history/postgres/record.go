package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-go/parley/history"
)

const recordColumns = "kind, id, value, version"

func scanRecord(row pgx.Row) (r history.Record, err error) {
	err = row.Scan(&r.Kind, &r.ID, (*[]byte)(&r.Value), &r.Version)
	return r, err
}

// Record implements [history.Records].
func (s *Store) Record(ctx context.Context, kind, id string) (r history.Record, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) (err error) {
		r, err = scanRecord(q.QueryRow(ctx, "SELECT "+recordColumns+
			" FROM parley.records WHERE kind = $1 AND id = $2 AND value IS NOT NULL", kind, id))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return history.Record{}, history.ErrNotFound.Wrap(kind+" record", nil)
	}
	return r, err
}

// RecordsSince implements [history.Records].
func (s *Store) RecordsSince(ctx context.Context, kind string, version int64) (records []history.Record, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		rows, err := q.Query(ctx, "SELECT "+recordColumns+` FROM parley.records
			WHERE version > $1 AND ($2 = '' OR kind = $2) AND ($1 > 0 OR value IS NOT NULL) ORDER BY version`, max(version, 0), kind)
		if err != nil {
			return err
		}
		records, err = pgx.AppendRows([]history.Record{}, rows, func(row pgx.CollectableRow) (history.Record, error) { return scanRecord(row) })
		return err
	})
	return records, err
}

// PutRecords implements [history.Records]. A value that was replaced stays in the files of the server until
// they are vacuumed and written again. One transaction after the other puts records, so their versions
// become visible in order. Canceling ctx has an effect only until it is its turn.
func (s *Store) PutRecords(ctx context.Context, records ...history.Record) (put []history.Record, err error) {
	prepared, err := history.PrepareRecords(records)
	if err != nil {
		return nil, err
	}
	err = s.writing(ctx, "put records", func(ctx context.Context, conn *pgxpool.Conn) error {
		put = append([]history.Record{}, prepared...)
		return begin(ctx, conn, func(tx pgx.Tx) error { return s.putRecords(ctx, tx, put) })
	})
	if err != nil {
		return nil, err
	}
	return put, nil
}

// recordKey names a record.
type recordKey struct{ kind, id string }

// putRecords changes the records and sets their new versions.
func (s *Store) putRecords(ctx context.Context, tx pgx.Tx, records []history.Record) error {
	var kinds, ids []string
	for _, r := range records {
		kinds, ids = append(kinds, r.Kind), append(ids, r.ID)
	}
	var last int64
	current := make(map[recordKey]*history.Record)
	var b pgx.Batch
	b.Queue("SELECT pg_advisory_xact_lock($1)", recordLock)
	b.Queue("SELECT coalesce(max(version), 0) FROM parley.records").QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
	b.Queue("SELECT "+recordColumns+" FROM parley.records WHERE (kind, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))", kinds, ids).Query(
		func(rows pgx.Rows) error {
			for rows.Next() {
				r, err := scanRecord(rows)
				if err != nil {
					return err
				}
				current[recordKey{r.Kind, r.ID}] = &r
			}
			return rows.Err()
		})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	now := s.now()
	b = pgx.Batch{}
	for i := range records {
		r, key := &records[i], recordKey{records[i].Kind, records[i].ID}
		var err error
		if r.Version, err = r.Follow(current[key], last+1); err != nil {
			return err
		}
		if r.Version == 0 {
			continue
		}
		last = r.Version
		current[key] = r
		var value *string // NULL
		if r.Value != nil {
			text := string(r.Value)
			value = &text
		}
		b.Queue(`INSERT INTO parley.records (kind, id, value, version, changed_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value, version = excluded.version, changed_at = excluded.changed_at`,
			r.Kind, r.ID, value, r.Version, now.UnixMilli())
	}
	// The newest version stays, because the next one is counted from it.
	b.Queue("DELETE FROM parley.records WHERE value IS NULL AND changed_at < $1 AND version < $2",
		now.Add(-history.KeepRemoved).UnixMilli(), last)
	return tx.SendBatch(ctx, &b).Close()
}
