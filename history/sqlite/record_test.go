package sqlite_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
	"github.com/parley-go/parley/history/sqlite"
)

func TestRecords(t *testing.T) { historytest.RunRecords(t, open) }

// marked returns a value of a random size that contains a mark many times.
func marked(mark string) []byte {
	return []byte(`"` + strings.Repeat(mark, 1+rand.IntN(300)) + `"`)
}

// marksIn returns which marks are in any file of a directory.
func marksIn(t *testing.T, dir string, marks map[string]bool) (found []string) {
	t.Helper()
	for _, name := range names(t, dir) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for mark := range marks {
			if bytes.Contains(content, []byte(mark)) {
				found = append(found, mark+" in "+name)
			}
		}
	}
	return found
}

// changeRecords makes many records, replaces and removes them between messages, and returns the
// marks that nobody may find afterwards, and one that everybody may.
func changeRecords(t *testing.T, put func(...history.Record) error, between func(i int)) (gone map[string]bool, kept string) {
	t.Helper()
	gone = make(map[string]bool)
	current := make(map[string]string)
	for i := range 400 {
		id, mark := fmt.Sprint("id", rand.IntN(60)), fmt.Sprintf("<mark-%d>", i)
		r := history.Record{Kind: "k", ID: id, Version: -1}
		if old := current[id]; old != "" {
			gone[old] = true
		}
		if delete(current, id); rand.IntN(3) > 0 {
			r.Value, current[id] = marked(mark), mark
		}
		if err := put(r); err != nil {
			t.Fatal(err)
		}
		between(i)
	}
	for id, mark := range current {
		gone[mark] = true
		if err := put(history.Record{Kind: "k", ID: id, Version: -1}); err != nil {
			t.Fatal(err)
		}
	}
	kept = "<mark that stays>"
	if err := put(history.Record{Kind: "k", ID: "kept", Version: -1, Value: json.RawMessage(`"` + strings.Repeat(kept, 100) + `"`)}); err != nil {
		t.Fatal(err)
	}
	return gone, kept
}

// No byte of a value that was replaced or removed is in any file.
func TestRecordsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "history.db"))
	gone, kept := changeRecords(t, func(r ...history.Record) error {
		_, err := s.PutRecords(t.Context(), r...)
		return err
	}, func(i int) { put(t, s, fmt.Sprint("room ", i), 1) })
	if found := marksIn(t, dir, gone); len(found) == 0 {
		t.Error("the write-ahead log contains nothing, so this test would not find anything")
	}
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if found := marksIn(t, dir, gone); len(found) > 0 {
		t.Errorf("found %q", found)
	}
	if len(marksIn(t, dir, map[string]bool{kept: true})) == 0 {
		t.Error("what exists was not found")
	}
}

// Without secure_delete, the same changes leave something.
func TestRecordsWithoutSecureDelete(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "history.db"))
	must(t, s.ExecWriter("PRAGMA secure_delete = OFF"))
	gone, _ := changeRecords(t, func(records ...history.Record) (err error) {
		for _, r := range records {
			var value any
			if r.Value != nil {
				value = string(r.Value)
			}
			err = errors.Join(err, s.ExecWriter(`INSERT INTO records VALUES (?1, ?2, ?3, (SELECT coalesce(max(version), 0) + 1 FROM records), 0)
				ON CONFLICT (kind, id) DO UPDATE SET value = ?3`, r.Kind, r.ID, value))
		}
		return err
	}, func(int) {})
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if found := marksIn(t, dir, gone); len(found) == 0 {
		t.Error("nothing was found")
	}
}

// The store itself empties its log, as soon as nobody reads an earlier state, and when it is opened
// after a kill.
func TestRecordsAreWiped(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "history.db"))
	release := s.HoldSnapshot(t)
	for _, value := range []string{`"<mark>"`, `"other"`} {
		if _, err := s.PutRecords(t.Context(), history.Record{Kind: "k", ID: "a", Value: []byte(value), Version: -1}); err != nil {
			t.Fatal(err)
		}
	}
	marks := map[string]bool{"<mark>": true}
	if s.Wipe() == nil || len(marksIn(t, dir, marks)) == 0 {
		t.Error("wiped while somebody read")
	}
	killed := t.TempDir() // a copy of the files as they would be after a kill
	for _, name := range names(t, dir) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(killed, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	release()
	openAt(t, filepath.Join(killed, "history.db"))
	for _, dir := range []string{dir, killed} {
		for deadline := time.Now().Add(time.Minute); len(marksIn(t, dir, marks)) > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("found %q", marksIn(t, dir, marks))
			}
		}
	}
}

// The same holds for messages that were edited, deleted or pruned.
func TestMessagesAreWiped(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "history.db"))
	release := s.HoldSnapshot(t) // until everything is done, because a wipe follows the last one after a minute only
	marks := map[string]bool{"<edited>": true, "<deleted>": true, "<pruned>": true}
	for mark := range marks {
		if _, err := s.Append(t.Context(), []history.Draft{{RoomID: mark[1 : len(mark)-1], UserID: "ann", Message: []byte(`"` + mark + `"`)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []history.Edit{{RoomID: "edited", Seq: 1, Message: []byte(`"other"`)}, {RoomID: "deleted", Seq: 1}} {
		if _, err := s.Edit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := s.Prune(t.Context(), history.PruneRule{Room: "pruned", Before: time.Now().Add(time.Hour)}); err != nil || p.Messages != 1 {
		t.Fatalf("pruned %+v, %v", p, err)
	}
	if found := marksIn(t, dir, marks); len(found) != 3 {
		t.Errorf("only %q is in the files, so this test would not find the others", found)
	}
	release()
	for deadline := time.Now().Add(time.Minute); len(marksIn(t, dir, marks)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("found %q", marksIn(t, dir, marks))
		}
	}
}

// Removed records are forgotten after a day. Versions never come again.
func TestRemovedRecordsAreForgotten(t *testing.T) {
	s := open(t).(*sqlite.Store)
	now := time.Now()
	s.SetClock(func() time.Time { return now })
	change := func(id, value string) int64 {
		r := history.Record{Kind: "k", ID: id, Version: -1}
		if value != "" {
			r.Value = []byte(value)
		}
		records, err := s.PutRecords(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return records[0].Version
	}
	change("a", "1")
	first := change("b", "1")
	change("a", "")
	last := change("b", "")
	listed := func() int {
		records, err := s.RecordsSince(t.Context(), "k", first)
		if err != nil {
			t.Fatal(err)
		}
		return len(records)
	}
	if n := listed(); n != 2 {
		t.Errorf("%d records listed, want the two that were removed", n)
	}
	now = now.Add(history.KeepRemoved + time.Second)
	change("c", "") // there is none, but old ones are forgotten
	if version := change("c", "1"); version <= last {
		t.Errorf("version %d after %d", version, last)
	}
	change("d", "1")
	if n := listed(); n != 2 {
		t.Errorf("%d records listed, want c and d", n)
	}
}

// Refused changes cost neither the connection nor what it knows.
func TestRefusedRecordKeepsWriter(t *testing.T) {
	s := open(t).(*sqlite.Store)
	put(t, s, "a", 1)
	known := s.Known()
	if _, err := s.PutRecords(t.Context(), history.Record{Kind: "k", ID: "a", Value: []byte("1"), Version: 7}); !errors.Is(err, history.ErrConflict) {
		t.Fatal(err)
	}
	if n := s.Known(); n != known || n == 0 {
		t.Errorf("the writer knows %d rooms, knew %d", n, known)
	}
	put(t, s, "a", 2)
}

// What rows leave behind when they move to other pages is overwritten, and the rows stay.
func TestScrub(t *testing.T) {
	s := open(t).(*sqlite.Store)
	if err := s.ExecWriter(`
		PRAGMA secure_delete = ON;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
		INSERT INTO records SELECT 'k', printf('%08d', i * 7919 % 2003), printf('"%.*c"', i % 900, 'x'), i, 0 FROM n;
		DELETE FROM records WHERE version % 3 = 0`); err != nil {
		t.Fatal(err)
	}
	state := func() (state string) {
		var rows, sum int
		var check string
		if err := s.QueryRow("SELECT count(*), sum(length(value)) FROM records", &rows, &sum); err != nil {
			t.Fatal(err)
		}
		if err := s.QueryRow("PRAGMA integrity_check", &check); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(rows, sum, check)
	}
	before := state()
	changed, err := s.Scrub("records")
	if err != nil || changed == 0 {
		t.Errorf("%d pages were scrubbed, %v", changed, err)
	}
	if changed, err = s.Scrub("records"); err != nil || changed != 0 {
		t.Errorf("again %d pages, %v", changed, err)
	}
	if after := state(); after != before || !strings.HasSuffix(after, "ok") {
		t.Errorf("%s, was %s", after, before)
	}
}
