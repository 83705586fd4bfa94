package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
	"github.com/parley-go/parley/history/sqlite"
)

// children are functions that this test binary runs if an environment variable, the key, contains
// the path of a store.
var children = map[string]func(path string) (status int){crashEnv: crashChild}

func TestMain(m *testing.M) {
	for env, child := range children {
		if path := os.Getenv(env); path != "" {
			os.Exit(child(path))
		}
	}
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	t.Parallel()
	historytest.Run(t, open)
}

func TestJoin(t *testing.T) {
	t.Parallel()
	historytest.RunJoin(t, func(t testing.TB) history.Store {
		s := open(t).(*sqlite.Store)
		// This test is about order, so it need not wait for the disk.
		if err := s.ExecWriter("PRAGMA synchronous = OFF"); err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func openAt(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *sqlite.Store, room string, n int) []history.Message {
	t.Helper()
	drafts := make([]history.Draft, n)
	for i := range drafts {
		drafts[i] = history.Draft{RoomID: room, UserID: "ann", ClientID: fmt.Sprint("c", i), Message: []byte(fmt.Sprint(i))}
	}
	results, err := s.Append(context.Background(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	messages := make([]history.Message, n)
	for i, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		messages[i] = r.Message
	}
	return messages
}

// A small page of large messages does not read what it does not return.
func TestSmallPages(t *testing.T) {
	s := open(t).(*sqlite.Store)
	const size, messages = 60_000, 200
	drafts := make([]history.Draft, messages)
	for i := range drafts {
		drafts[i] = history.Draft{RoomID: "a", UserID: "ann", Message: []byte(`"` + strings.Repeat("x", size) + `"`)}
	}
	if _, err := s.Append(context.Background(), drafts); err != nil {
		t.Fatal(err)
	}
	limit := history.Limit{Messages: history.MaxLimit, Bytes: 3 * size}
	for what, read := range map[string]func() (history.Slice, error){
		"newest": func() (history.Slice, error) { return s.History(t.Context(), "a", history.Page{Limit: limit}) },
		"before": func() (history.Slice, error) {
			return s.History(t.Context(), "a", history.Page{Before: 100, Limit: limit})
		},
		"after": func() (history.Slice, error) {
			return s.History(t.Context(), "a", history.Page{After: -1, Limit: limit})
		},
		"around": func() (history.Slice, error) {
			return s.History(t.Context(), "a", history.Page{Around: 99, Limit: limit})
		},
		"changes": func() (history.Slice, error) { return s.Changes(t.Context(), "a", 0, limit) },
	} {
		if _, err := read(); err != nil { // opens the connection
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		slice, err := read()
		runtime.ReadMemStats(&after)
		if err != nil || len(slice.Messages) != 2 {
			t.Errorf("%s: %d messages, %v", what, len(slice.Messages), err)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 10*size {
			t.Errorf("%s: allocated %d bytes for 2 messages", what, allocated)
		}
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new dir", "100% ä?#.db")
	s := openAt(t, path)
	epoch := s.Epoch()
	first := put(t, s, "a", 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// SQLite removes its files when the last connection is closed.
	if got := names(t, filepath.Dir(path)); len(got) != 2 {
		t.Errorf("closing left %q", got)
	}

	s = openAt(t, path)
	if s.Epoch() != epoch {
		t.Errorf("epoch %q, was %q", s.Epoch(), epoch)
	}
	again := put(t, s, "a", 4) // the first three are repetitions
	if again[2].ID != first[2].ID || again[3].Seq != 4 {
		t.Errorf("got %+v", again)
	}
	if m := put(t, s, "b", 1)[0]; m.Seq != 1 || m.ID == first[0].ID {
		t.Errorf("in a new room %+v", m)
	}
	if err := sound(path); err != nil {
		t.Error(err)
	}
}

func TestClock(t *testing.T) {
	s := open(t).(*sqlite.Store)
	at := int64(1000)
	s.SetClock(func() time.Time { return time.UnixMilli(at) })
	put(t, s, "r", 1)
	at = 400
	if m := put(t, s, "r", 2)[1]; m.Timestamp != history.TimeMilli(1000) {
		t.Errorf("at %v after 1 s", m.Timestamp)
	}
	if m := put(t, s, "other", 1)[0]; m.Timestamp != history.TimeMilli(400) {
		t.Errorf("in another room at %v", m.Timestamp)
	}
}

func TestView(t *testing.T) {
	s := open(t).(*sqlite.Store)
	s.SetClock(func() time.Time { return time.UnixMilli(1_700_000_000_120) })
	_, err := s.Append(context.Background(), []history.Draft{
		{RoomID: "support 7", UserID: "ann", OperatorID: "op", Message: []byte(`{"text": "hi"}`)},
		{RoomID: "support 7", UserID: "ann", Message: []byte(`1`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var userID, operatorID, roomID, message, timestamp string
	var seq int
	err = s.QueryRow("SELECT userId, operatorId, roomId, message, timestamp, seq FROM chat WHERE operatorId IS NOT NULL",
		&userID, &operatorID, &roomID, &message, &timestamp, &seq)
	got := fmt.Sprint(userID, operatorID, roomID, message, timestamp, seq)
	if want := fmt.Sprint("ann", "op", "support 7", `{"text":"hi"}`, "2023-11-14T22:13:20.120Z", 1); err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path)
	if _, err := sqlite.Open(path, nil); !errors.Is(err, sqlite.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened twice: %v", err)
	}
	put(t, s, "a", 1)
	s.Close()
	openAt(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read the file: %v, %v", info.Mode(), err)
	}
}

func TestRefusesFile(t *testing.T) {
	dir := t.TempDir()
	newer := filepath.Join(dir, "newer.db")
	s := openAt(t, newer)
	if err := s.Exec("INSERT INTO migrations VALUES (99, 0)"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := sqlite.Open(newer, nil); !errors.Is(err, sqlite.ErrNewer) {
		t.Errorf("a newer version's: %v", err)
	}

	foreign := filepath.Join(dir, "foreign.db")
	s = openAt(t, foreign)
	if err := s.Exec("PRAGMA application_id = 7"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := sqlite.Open(foreign, nil); !errors.Is(err, sqlite.ErrForeign) {
		t.Errorf("another program's: %v", err)
	}

	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database at all\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(text, nil); err == nil {
		t.Error("opened a text file")
	}
	if _, err := sqlite.Open(filepath.Join(text, "history.db"), nil); err == nil {
		t.Error("opened a file below a file")
	}
}

// A full disk refuses messages. When there is space again, it accepts them.
func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path)
	kept := put(t, s, "a", 3)
	if err := s.ExecWriter("PRAGMA max_page_count = 1"); err != nil { // no additional pages
		t.Fatal(err)
	}
	drafts := make([]history.Draft, 100)
	for i := range drafts {
		drafts[i] = history.Draft{RoomID: "a", UserID: "ann", Message: []byte(`"` + strings.Repeat("x", 1000) + `"`)}
	}
	if _, err := s.Append(context.Background(), drafts); !errors.Is(err, history.ErrUnavailable) || !strings.Contains(err.Error(), "full") {
		t.Errorf("error %v", err)
	}
	slice, err := s.History(context.Background(), "a", history.Page{})
	if err != nil || len(slice.Messages) != 3 || slice.Messages[2].ID != kept[2].ID {
		t.Errorf("what was kept: %+v, %v", slice, err)
	}
	// The store has replaced the connection, which also removed the limit.
	results, err := s.Append(context.Background(), drafts)
	if err != nil || results[0].Message.Seq != 4 {
		t.Errorf("afterwards: %v", err)
	}
	if err := sound(path); err != nil {
		t.Error(err)
	}
}

// The queries that need an index must be able to use it. If an expression differed slightly from
// the index, SQLite would read the whole table.
func TestPlans(t *testing.T) {
	s := open(t).(*sqlite.Store)
	for index, query := range sqlite.Indexed {
		var id, parent, unused int
		var plan string
		if err := s.QueryRow("EXPLAIN QUERY PLAN "+strings.ReplaceAll(query, "?", "'1'"), &id, &parent, &unused, &plan); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, " USING INDEX "+index) {
			t.Errorf("%s is not used: %s", index, plan)
		}
	}
}

// Another program changes the file while it is in use. Numbers stay unique.
func TestForeignWrite(t *testing.T) {
	s := open(t).(*sqlite.Store)
	put(t, s, "a", 1)
	err := s.Exec(`
		UPDATE rooms SET head = 41 WHERE room_id = 'a';
		INSERT INTO rooms (id, room_id, head) VALUES (2, 'b', 7)`)
	if err != nil {
		t.Fatal(err)
	}
	for room, want := range map[string]int64{"a": 42, "b": 8, "c": 1} {
		results, err := s.Append(context.Background(), []history.Draft{{RoomID: room, UserID: "ann", Message: []byte("1")}})
		if err != nil || results[0].Message.Seq != want {
			t.Errorf("room %s: %+v, %v", room, results, err)
		}
	}
}

// Another program holds the write lock for a while.
func TestLockedForAWhile(t *testing.T) {
	s := open(t).(*sqlite.Store)
	if err := s.ExecWriter("PRAGMA busy_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	unlock := s.HoldWriteLock(t)
	_, err := s.Append(context.Background(), []history.Draft{{RoomID: "a", UserID: "ann", Message: []byte("1")}})
	if !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	unlock()
	put(t, s, "a", 1)
}

// More rooms than the writer remembers, and batches that need inserts of all sizes.
func TestManyRooms(t *testing.T) {
	s := open(t).(*sqlite.Store)
	s.SetMaxKnown(200)
	rooms := 0
	for _, size := range []int{1, 7, 64, 65, 73, 100, 150} {
		drafts := make([]history.Draft, size)
		for i := range drafts {
			drafts[i] = history.Draft{RoomID: fmt.Sprint("room ", rooms+i), UserID: "ann", Message: []byte("1")}
		}
		if _, err := s.Append(context.Background(), drafts); err != nil {
			t.Fatal(err)
		}
		rooms += size
		if n := s.Known(); n > 200 {
			t.Errorf("%d rooms in mind", n)
		}
	}
	for n := range rooms {
		results, err := s.Append(context.Background(), []history.Draft{{RoomID: fmt.Sprint("room ", n), UserID: "ann", Message: []byte("1")}})
		if err != nil || results[0].Message.Seq != 2 {
			t.Errorf("room %d: %+v, %v", n, results, err)
		}
	}
}

// Readers stop waiting for a connection when their context ends, and work again when they get one.
func TestReadersBounded(t *testing.T) {
	s, err := sqlite.Open(filepath.Join(t.TempDir(), "history.db"), &sqlite.Options{Readers: 1, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, "a", 1)
	release := s.HoldReader()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := s.History(ctx, "a", history.Page{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if slice, err := s.History(context.Background(), "a", history.Page{}); err != nil || len(slice.Messages) != 1 {
				t.Errorf("got %+v, %v", slice, err)
			}
		})
	}
	release()
	group.Wait()
}
