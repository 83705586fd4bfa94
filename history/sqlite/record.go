package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/parley-go/parley/history"
)

const recordColumns = "kind, id, value, version"

// sinceQuery uses the index records_version.
const sinceQuery = "SELECT " + recordColumns + ` FROM records r
	WHERE version > ?1 AND (?2 = '' OR kind = ?2) AND (?1 > 0 OR value IS NOT NULL) ORDER BY version`

// Record implements [history.Records].
func (s *Store) Record(ctx context.Context, kind, id string) (r history.Record, err error) {
	err = s.read(ctx, func(c *reader) error {
		r, err = scanRecord(c.conn.QueryRowContext(ctx, "SELECT "+recordColumns+
			" FROM records WHERE kind = ? AND id = ? AND value IS NOT NULL", kind, id))
		if errors.Is(err, sql.ErrNoRows) {
			err = nil // the connection is good
		}
		return err
	})
	if err == nil && r.Value == nil {
		err = history.ErrNotFound.Wrap(kind+" record", nil)
	}
	return r, err
}

// RecordsSince implements [history.Records].
func (s *Store) RecordsSince(ctx context.Context, kind string, version int64) (records []history.Record, err error) {
	err = s.read(ctx, func(c *reader) (err error) {
		records, err = recordsSince(ctx, c.conn, kind, version)
		return err
	})
	return records, err
}

func scanRecord(row interface{ Scan(...any) error }) (r history.Record, err error) {
	err = row.Scan(&r.Kind, &r.ID, (*[]byte)(&r.Value), &r.Version)
	return r, err
}

// ReadRecords returns the records of the store at path, also while another process uses it. The error is
// [ErrNoStore] if there is none. A store of an earlier version may have no records.
func ReadRecords(ctx context.Context, path string) (records []history.Record, err error) {
	err = withStore(ctx, path, func(conn *sql.Conn) error {
		version, err := schemaVersion(ctx, conn, math.MaxInt)
		if err != nil || version < recordsVersion {
			return err
		}
		records, err = recordsSince(ctx, conn, "", 0)
		return err
	})
	if err != nil {
		err = fmt.Errorf("parley: read %s: %w", path, err)
	}
	return records, err
}

// recordsVersion is the schema with which records came.
const recordsVersion = 4

func recordsSince(ctx context.Context, conn *sql.Conn, kind string, version int64) ([]history.Record, error) {
	rows, err := conn.QueryContext(ctx, sinceQuery, max(version, 0), kind)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	records := []history.Record{}
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

// PutRecords implements [history.Records]. Canceling ctx has an effect only until it is its turn.
func (s *Store) PutRecords(ctx context.Context, records ...history.Record) ([]history.Record, error) {
	records, err := history.PrepareRecords(records)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, history.ErrUnavailable.Wrap("put records", err)
	}
	defer s.residue.Store(true) // after the commit: a wipe before it does not count
	err = s.write(ctx, "put records", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() error { return w.putRecords(ctx, records, s.now()) })
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// putRecords changes the records and sets their new versions, within a transaction.
func (w *writer) putRecords(ctx context.Context, records []history.Record, now time.Time) error {
	var last int64
	if err := w.conn.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM records").Scan(&last); err != nil {
		return err
	}
	replaced := false
	for i := range records {
		r := &records[i]
		var current *history.Record
		found, err := scanRecord(w.conn.QueryRowContext(ctx, "SELECT "+recordColumns+
			" FROM records WHERE kind = ? AND id = ?", r.Kind, r.ID))
		if err == nil {
			current = &found
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if r.Version, err = r.Follow(current, last+1); err != nil {
			return refused{err}
		}
		if r.Version == 0 {
			continue
		}
		last = r.Version
		replaced = replaced || current != nil
		var value any // NULL
		if r.Value != nil {
			value = string(r.Value)
		}
		_, err = w.conn.ExecContext(ctx, `INSERT INTO records (kind, id, value, version, changed_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value, version = excluded.version, changed_at = excluded.changed_at`,
			r.Kind, r.ID, value, r.Version, now.UnixMilli())
		if err != nil {
			return err
		}
	}
	// The newest version stays, because the next one is counted from it.
	_, err := w.conn.ExecContext(ctx, "DELETE FROM records WHERE value IS NULL AND changed_at < ? AND version < ?",
		now.Add(-history.KeepRemoved).UnixMilli(), last)
	if err != nil || !replaced {
		return err
	}
	return w.scrub(ctx, "records", "records_version", "records_removed")
}
