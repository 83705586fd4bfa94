package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

// locked runs a statement in a transaction that stays open until the result is called.
func locked(t *testing.T, url, statement string) (unlock func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		_, err = conn.Exec(t.Context(), "BEGIN")
	}
	if err == nil {
		_, err = conn.Exec(t.Context(), statement)
	}
	if err != nil {
		t.Fatal(err)
	}
	unlock = func() { conn.Close(context.Background()) }
	t.Cleanup(unlock)
	return unlock
}

// Nodes that start at the same time make one schema.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	stores := make([]*postgres.Store, 5)
	var group sync.WaitGroup
	for i := range stores {
		group.Go(func() {
			s, err := postgres.Open(t.Context(), url, &postgres.Options{Search: true, Timeout: patience})
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
		})
	}
	group.Wait()
	for _, s := range stores {
		if s != nil {
			if s.Epoch() != stores[0].Epoch() {
				t.Errorf("epochs %s and %s", s.Epoch(), stores[0].Epoch())
			}
			s.Close()
		}
	}
}

func TestRefusesDatabase(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what, statement string
		options         []string
		want            error
		says            string
	}{
		{"newer", "INSERT INTO parley.migrations VALUES (99)", nil, postgres.ErrNewer, "99"},
		{"foreign", "DROP SCHEMA parley CASCADE; CREATE SCHEMA parley; CREATE TABLE parley.rooms (a int)", nil, postgres.ErrForeign, ""},
		{"not UTF-8", "", []string{"TEMPLATE template0 ENCODING 'LATIN1'"}, nil, "UTF8"},
		{"damaged", "DELETE FROM parley.migrations", nil, nil, "damaged"},
	} {
		url := postgrestest.Database(t, test.options...)
		if test.statement != "" {
			openAt(t, url, nil).Close()
			exec(t, url, test.statement)
		}
		s, err := postgres.Open(t.Context(), url, nil)
		if err == nil {
			s.Close()
		}
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", test.what, err)
		}
	}
	const secret = "a-secret"
	if _, err := postgres.Open(t.Context(), "postgres://user:"+secret+"@127.0.0.1:1/x", nil); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := postgres.Open(t.Context(), "postgres://user:"+secret+"@127.0.0.1:port/x", nil); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a bad URL: %v", err)
	}
}

// A user that owns nothing but the database needs no other rights. A user that may only use the tables
// can open a store that exists.
func TestRights(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, nil)
	server.Exec(t, "postgres", "CREATE ROLE owner LOGIN")
	server.Exec(t, "postgres", "CREATE ROLE worker LOGIN")
	server.Exec(t, "postgres", "CREATE DATABASE chat OWNER owner")
	as := func(user string) string { return strings.Replace(server.URL("chat"), "//postgres@", "//"+user+"@", 1) }
	appended(t, openAt(t, as("owner"), nil), draft("a", 1))
	server.Exec(t, "chat", "GRANT USAGE ON SCHEMA parley TO worker")
	server.Exec(t, "chat", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA parley TO worker")
	server.Exec(t, "chat", "GRANT USAGE ON ALL SEQUENCES IN SCHEMA parley TO worker")
	s := openAt(t, as("worker"), nil)
	appended(t, s, draft("b", 1))
	if bytes, err := s.Size(t.Context()); err != nil || bytes < 8192 {
		t.Errorf("size %d, %v", bytes, err)
	}
}

// The sort order of a database does not matter.
func TestCollation(t *testing.T) {
	t.Parallel()
	s := openAt(t, postgrestest.Database(t, "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'"), nil)
	for _, room := range []string{"b", "A", "a", "B", "_", "ä"} {
		appended(t, s, draft(room, 1))
	}
	names, err := s.RoomNames(t.Context(), "", "", 10)
	if err != nil || strings.Join(names, "") != "AB_abä" {
		t.Errorf("%q, %v", names, err)
	}
}

// A dump that is restored has everything, and another epoch, because it may lack the newest messages.
func TestDump(t *testing.T) {
	t.Parallel()
	from, to := postgrestest.Database(t), postgrestest.Database(t)
	s := openAt(t, from, nil)
	d := draft("a", 1)
	d.Conversation = &history.Conversation{UserID: "ann", Labels: []string{"x"}}
	appended(t, s, d)
	file := t.TempDir() + "/dump"
	postgrestest.Run(t, "pg_dump", "--format=custom", "--schema=parley", "--file="+file, from)
	appended(t, s, draft("a", 2))
	postgrestest.Run(t, "pg_restore", "--exit-on-error", "--no-owner", "--dbname="+to, file)
	restored := openAt(t, to, nil)
	if restored.Epoch() == s.Epoch() {
		t.Error("the epoch is the same")
	}
	wantSeqs(t, restored, "a", 1)
	if r := appended(t, restored, draft("a", 3)); r.Message.Seq != 2 {
		t.Errorf("%+v", r)
	}
	d.RoomID = "b"
	if r := appended(t, restored, d); r.Message.Seq != 1 {
		t.Errorf("a new room: %+v", r)
	}
	// In place of the one that was there, while a node runs: it notices with its next connection.
	epoch := s.Epoch()
	postgrestest.Run(t, "pg_restore", "--exit-on-error", "--no-owner", "--clean", "--dbname="+from, file)
	exec(t, from, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	wantSeqs(t, s, "a", 1)
	if s.Epoch() == epoch {
		t.Error("a node has kept the epoch")
	}
}

// What was erased is in no table any more.
func TestEraseTables(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	s := openAt(t, url, &postgres.Options{Search: true})
	ctx := t.Context()
	secret := func(room string) history.Draft {
		return history.Draft{RoomID: room, UserID: "xavier", ClientID: "xavierid", Message: []byte(`"zanzibar trip"`)}
	}
	mine := secret("room-of-xavier")
	mine.Conversation = &history.Conversation{UserID: "xavier", Name: "Xavier X", Subject: "zanzibar", Labels: []string{"zanzibar"}}
	appended(t, s, mine)
	appended(t, s, secret(history.NotesRoom("room-of-xavier")))
	appended(t, s, secret("elsewhere"))
	appended(t, s, draft("elsewhere", 1))
	for _, room := range []string{"room-of-xavier", "elsewhere"} {
		if _, err := s.MarkRead(ctx, room, history.Member{UserID: "xavier"}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Merge(ctx, "v-xavier", "xavier", nil); err != nil {
		t.Fatal(err)
	}
	for { // until the index has it
		found, err := s.Search(ctx, history.SearchQuery{Text: "zanzibar", Notes: true})
		if err != nil {
			t.Fatal(err)
		}
		if found.Complete && len(found.Hits) == 3 {
			break
		}
	}
	dump := func() []byte { return bytes.ToLower(postgrestest.Run(t, "pg_dump", "--data-only", url)) }
	if was := dump(); !bytes.Contains(was, []byte("xavier")) || !bytes.Contains(was, []byte("zanzibar")) {
		t.Fatal("the dump has nothing to erase")
	}
	if _, err := s.EraseUser(ctx, "xavier"); err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(dump(), []byte("\n")) {
		if bytes.Contains(line, []byte("xavier")) || bytes.Contains(line, []byte("zanzibar")) {
			t.Errorf("left: %s", line)
		}
	}
}
