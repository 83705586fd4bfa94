package postgres_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

// setReadOnly is a statement that makes new sessions of a database read-only, or not, and ends the others.
func setReadOnly(value string) string {
	return `SET TRANSACTION READ WRITE; DO $$ BEGIN
		EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = ` + value + `', current_database()); END $$`
}

const endSessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

// A database that can be read but refuses changes is at fault until it accepts them again. Reads do not hide
// that, nothing is lost, and one line tells when it began and when it ended.
func TestRefusesChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin, end []string
		want       error
		seen       bool // without a change that was refused
	}{
		"the disk is full": {
			begin: []string{
				"CREATE FUNCTION parley.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE disk_full; END'",
				"CREATE TRIGGER refuse BEFORE INSERT ON parley.messages FOR EACH ROW EXECUTE FUNCTION parley.refuse()",
			},
			end:  []string{"DROP TRIGGER refuse ON parley.messages"},
			want: history.ErrFull,
		},
		"rights were taken away": {
			begin: []string{
				"CREATE FUNCTION parley.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE insufficient_privilege; END'",
				"CREATE TRIGGER refuse BEFORE INSERT ON parley.messages FOR EACH ROW EXECUTE FUNCTION parley.refuse()",
			},
			end:  []string{"DROP TRIGGER refuse ON parley.messages"},
			want: history.ErrUnavailable,
		},
		"read-only after a failover": {
			begin: []string{setReadOnly("on"), endSessions},
			end:   []string{setReadOnly("off")}, // sessions stay read-only: the store leaves them
			want:  history.ErrUnavailable,
			seen:  true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := postgrestest.Database(t)
			var lines log
			s := openAt(t, url, &postgres.Options{Patience: 100 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
			appended(t, s, draft("a", 1))
			if r := appended(t, s, draft("a", 1)); !r.Dup {
				t.Errorf("sent again: %+v", r)
			}
			if err := s.Fault(); err != nil || s.Suspects() {
				t.Fatalf("at first: %v, suspects %v", err, s.Suspects())
			}
			for _, statement := range c.begin {
				exec(t, url, statement)
			}
			if !c.seen {
				if _, err := s.Append(t.Context(), []history.Draft{draft("a", 2)}); !errors.Is(err, c.want) {
					t.Errorf("an append: %v, want %v", err, c.want)
				}
			}
			for s.Fault() == nil {
				time.Sleep(time.Millisecond)
			}
			if _, err := s.Heads(t.Context(), []string{"a"}); err != nil {
				t.Errorf("a read: %v", err)
			}
			if err := s.Fault(); !errors.Is(err, postgres.ErrUnwritable) || !errors.Is(err, c.want) {
				t.Errorf("the fault: %v, want %v", err, c.want)
			}
			for _, statement := range c.end {
				exec(t, url, statement)
			}
			for s.Fault() != nil {
				time.Sleep(time.Millisecond)
			}
			for {
				if _, err := s.Append(t.Context(), []history.Draft{draft("a", 2)}); err == nil {
					break
				} else if !errors.Is(err, history.ErrUnavailable) {
					t.Fatal(err)
				}
			}
			wantSeqs(t, s, "a", 2)
			if began, ended := lines.count("refuses changes: nothing is stored"), lines.count("can be used again"); began != 1 || ended != 1 {
				t.Errorf("%d and %d lines", began, ended)
			}
			exec(t, url, "DO $$ BEGIN IF EXISTS (SELECT 1 FROM parley.messages WHERE room = 0) THEN RAISE 'left'; END IF; END $$")
		})
	}
}

// A database that is gone is at fault though nobody calls the store.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, nil)
	s := openAt(t, server.URL("postgres"), nil)
	if err := s.Fault(); err != nil {
		t.Fatal(err)
	}
	server.Crash()
	for s.Fault() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := s.Fault(); !errors.Is(err, postgres.ErrUnreachable) || !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("the fault: %v", err)
	}
	server.Restart(t)
	for s.Fault() != nil {
		time.Sleep(time.Millisecond)
	}
	appended(t, s, draft("a", 1))
}
