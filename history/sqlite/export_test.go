package sqlite

import (
	"context"
	"testing"
	"time"
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

// HoldReader takes a reading connection until release is called.
func (s *Store) HoldReader() (release func()) {
	r := <-s.readers
	return func() { s.readers <- r }
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
var Indexed = map[string]string{"messages_client": replayQuery, "messages_rev": changedQuery}
