package sqlite

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/listing"
	"github.com/parley-go/parley/internal/turns"
)

// SetClock replaces the store's clock.
func (s *Store) SetClock(now func() time.Time) { s.now = now }

// ExecWriter executes SQL on the writing connection.
func (s *Store) ExecWriter(query string, args ...any) error {
	w := <-s.writers
	defer func() { s.writers <- w }()
	_, err := w.conn.ExecContext(context.Background(), query, args...)
	return err
}

// Exec executes SQL on another connection, like a person in a shell.
func (s *Store) Exec(query string, args ...any) error {
	_, err := s.db.Exec(query, args...)
	return err
}

// QueryRow reads a row on another connection.
func (s *Store) QueryRow(query string, to ...any) error {
	return s.db.QueryRow(query).Scan(to...)
}

// HoldWriteLock takes the write lock on another connection until unlock is called.
func (s *Store) HoldWriteLock(t testing.TB) (unlock func()) {
	conn, err := s.db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() { conn.Close() }
}

// MaxGroup is how many changes one commit makes.
const MaxGroup = maxGroup

// HoldWriter takes the writing connection until release is called.
func (s *Store) HoldWriter() (release func()) {
	w := <-s.writers
	return func() { s.writers <- w }
}

// HoldReader takes a reading connection until release is called.
func (s *Store) HoldReader() (release func()) {
	r, err := s.readers.Take(context.Background(), turns.Client{})
	if err != nil {
		panic(err)
	}
	return func() { s.readers.Give(r) }
}

// Read calls f when it is the turn of ctx's client.
func (s *Store) Read(ctx context.Context, f func()) error {
	return s.read(ctx, func(*reader) error { f(); return nil })
}

// ReadForever reads until ctx ends: rows that never end or, if found is false, none of them.
func (s *Store) ReadForever(ctx context.Context, found bool, reading chan<- struct{}) error {
	return s.read(ctx, func(r *reader) error {
		var n int64
		if err := r.room.QueryRowContext(ctx, "a").Scan(&n, &n, &n); err != nil {
			return err
		}
		stmt := r.prepare(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
			SELECT i, '', '', '', 0, '', 0, 0 FROM n WHERE i > ? AND i < ? LIMIT ?`)
		to := int64(0)
		if found {
			to = math.MaxInt64
		}
		close(reading)
		_, _, err := query(ctx, stmt, "a", history.Limit{Messages: math.MaxInt32, Bytes: math.MaxInt32}, 0, to)
		return err
	})
}

// Checkpoint moves the write-ahead log into the database and empties it. It fails if a read is in
// the way.
func (s *Store) Checkpoint() error {
	w := <-s.writers
	defer func() { s.writers <- w }()
	var busy, log, moved int
	err := w.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved)
	if err == nil && busy != 0 {
		err = errors.New("somebody reads")
	}
	return err
}

// Readers returns the reading connections that have been opened and are not in use.
func (s *Store) Readers() (readers []*reader) {
	for range s.opt.Readers {
		r, err := s.readers.Take(context.Background(), turns.Client{})
		if err != nil {
			panic(err)
		}
		defer s.readers.Give(r)
		if r != nil {
			readers = append(readers, r)
		}
	}
	return readers
}

// SetMaxKnown changes how many rooms the writer remembers.
func (s *Store) SetMaxKnown(n int) {
	w := <-s.writers
	defer func() { s.writers <- w }()
	w.maxKnown = n
}

// Known returns the number of rooms that the writer remembers.
func (s *Store) Known() int {
	w := <-s.writers
	defer func() { s.writers <- w }()
	return len(w.known)
}

// Queries that must use an index, by its name.
var Indexed = map[string]string{"messages_client": replayQuery, "messages_rev": changedQuery,
	"records_version": strings.ReplaceAll(strings.ReplaceAll(sinceQuery, "?1", "1"), "?2", "''")}

// SetSpace replaces what the store learns about the disk.
func (s *Store) SetSpace(free func() int64) {
	s.space = func(string) (space, error) { return space{free: free(), total: 1 << 40}, nil }
}

// DiskSpace returns the space of a file system.
func DiskSpace(dir string) (free, total int64, err error) {
	s, err := diskSpace(dir)
	return s.free, s.total, err
}

// DefaultMinFree is the largest default of Options.MinFree.
const DefaultMinFree = defaultMinFree

// HoldSnapshot reads from the store on another connection until release is called.
func (s *Store) HoldSnapshot(t testing.TB) (release func()) {
	tx, err := s.db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM messages").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return func() { tx.Rollback() }
}

// Wipe empties the write-ahead log after changes that were made secretly.
func (s *Store) Wipe() error { return s.wipe() }

// Scrub scrubs a table, and returns how many of its pages had something in their unused parts.
func (s *Store) Scrub(table string) (pages int, err error) {
	ctx := context.Background()
	err = s.write(ctx, "scrub", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() error {
			numbers, err := w.pagesOf(ctx, table)
			for _, number := range numbers {
				var page []byte
				if err := w.conn.QueryRowContext(ctx, "SELECT data FROM sqlite_dbpage WHERE pgno = ?", number).Scan(&page); err != nil {
					return err
				}
				if scrubPage(page) {
					pages++
				}
			}
			if err != nil {
				return err
			}
			return w.scrub(ctx, table)
		})
	})
	return pages, err
}

// Queries of rooms, for the tests of their plans.
const (
	ChangedRoomsQuery = changedRoomsQuery
	NewestChangeQuery = newestChangeQuery
	ReplayMergedQuery = replayMergedQuery
	ViewQuery         = viewQuery
	MaxScan           = listing.MaxScan
)

// ListQuery returns the query of a part of a list.
func ListQuery(q *history.RoomQuery, rest bool, after *history.RoomPosition) (query string, args []any) {
	return listQuery(q, listing.Part{Rest: rest, After: after, Limit: listing.MaxScan})
}

// CountQueries returns the queries of CountRooms. Each has at most two arguments.
func CountQueries(by history.Member) (queries []string) {
	for _, c := range counts(by, new(history.RoomCounts)) {
		queries = append(queries, c.query())
	}
	return queries
}

// Plan returns the steps of a query.
func (s *Store) Plan(query string, args ...any) (steps []string, err error) {
	args = args[:min(len(args), strings.Count(query, "?"))]
	rows, err := s.db.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return steps, rows.Err()
}

// Built returns how far the first build of the index has come.
func (s *Store) Built() int64 {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	return s.index.built
}

// HoldIndex stops the index until release is called.
func (s *Store) HoldIndex() (release func()) {
	s.index.mu.Lock()
	return s.index.mu.Unlock
}

// ExecIndex executes SQL on the database of the index.
func (s *Store) ExecIndex(query string) error {
	_, err := s.index.db.Load().Exec(query)
	return err
}

// IndexFailures returns how many of the last steps of the index have failed.
func (s *Store) IndexFailures() int64 { return s.index.failures.Load() }

// EraseRows is EraseRoom without what cleans the files afterwards.
func (s *Store) EraseRows(ctx context.Context, room string) error {
	steps := s.erasing()
	steps.Clean = func(context.Context) error { return nil }
	_, err := steps.Room(ctx, room)
	return err
}
