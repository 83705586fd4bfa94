package sqlite_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// needle are most of the texts that traces looks for.
var needle = regexp.MustCompile(`(mine|other|free|note)q[0-9]+z[0-9]+`)

// traces returns which of some texts stand in the files of a directory.
func traces(t *testing.T, dir string, texts []string) (found []string) {
	t.Helper()
	wanted := make(map[string]bool)
	for _, text := range texts {
		wanted[text] = true
	}
	for _, name := range names(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		there := make(map[string]bool)
		for _, text := range needle.FindAll(data, -1) {
			there[string(text)] = true
		}
		for text := range wanted {
			if there[text] || !needle.MatchString(text) && bytes.Contains(data, []byte(text)) {
				found = append(found, text+" in "+name)
			}
		}
	}
	return found
}

// fillForErasure stores messages and data of one user between those of many others. It returns what
// must not be found after the user was erased, and what must stay.
func fillForErasure(t *testing.T, s *sqlite.Store) (gone, stays []string) {
	t.Helper()
	word := func(kind string, n int) string { return fmt.Sprintf("%sq%dz%d", kind, n, rand.Uint64()) }
	var drafts []history.Draft
	flush := func() {
		_, err := s.Append(t.Context(), drafts)
		must(t, err)
		drafts = drafts[:0]
	}
	add := func(room, user, text string) {
		drafts = append(drafts, history.Draft{RoomID: room, UserID: user, ClientID: fmt.Sprint(text, "c"),
			Message: fmt.Appendf(nil, `{"text":"%s and some more, %0*d"}`, text, rand.IntN(300), 0)})
	}
	for n := range 1000 {
		mine, other := word("mine", n), word("other", n)
		gone, stays = append(gone, mine), append(stays, other)
		add("own room of the erased", "the-erased-one", mine)
		add(fmt.Sprint("of others ", n%40), "somebody", other)
		if n%10 == 0 {
			free, note := word("free", n), word("note", n)
			add(fmt.Sprint("of others ", n%40), "the-erased-one", free)
			add(history.NotesRoom("own room of the erased"), "an operator", note)
			gone = append(gone, free, note)
		}
		if n%100 == 99 {
			flush()
		}
	}
	flush()
	person := []string{"Name Of The Erased", "erased@mail.example", "an attribute of the erased", "subject of the erased"}
	must(t, s.ExecWriter("UPDATE rooms SET user_id = 'the-erased-one', status = 'open', change = 1, subject = ? WHERE room_id = 'own room of the erased'", person[3]),
		s.ExecWriter("INSERT INTO people VALUES ('the-erased-one', ?, ?, ?, 0, NULL, 1, 1), ('v_erased', NULL, NULL, '{}', 0, 'the-erased-one', 1, 1), ('somebody', 'x', NULL, '{}', 0, NULL, 1, 1)",
			person[0], person[1], `{"k":"`+person[2]+`"}`),
		s.ExecWriter("INSERT INTO cursors VALUES (2, 'uthe-erased-one', 1, 1)"))
	return append(append(gone, person...), "the-erased-one", "v_erased", "own room of the erased"), stays
}

// Of an erased user, no byte is left in any file, although others write meanwhile. What others have
// stays.
func TestErase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	s := openSearch(t, path)
	gone, stays := fillForErasure(t, s)
	wantHits(t, s, "more", 2200-100) // notes are not found
	if found := traces(t, dir, gone); len(found) < len(gone) {
		t.Fatalf("before, only %d of %d", len(found), len(gone))
	}
	stop := make(chan struct{})
	written := make(chan int)
	go func() {
		n := 0
		defer func() { written <- n }()
		for {
			select {
			case <-stop:
				return
			default:
				write(t, s, fmt.Sprint("of others ", n%40), "meanwhile", 1)
				n++
			}
		}
	}()
	e, err := s.EraseUser(t.Context(), "the-erased-one")
	close(stop)
	n := <-written
	if err != nil || len(e.Rooms) != 1 || e.Messages != 1100 || len(e.Changed) != 100 {
		t.Errorf("erased %d rooms, %d messages; %d tombstones, %v", len(e.Rooms), e.Messages, len(e.Changed), err)
	}
	if found := traces(t, dir, gone); len(found) > 0 {
		t.Errorf("%d traces: %.300q", len(found), found)
	}
	if found := traces(t, dir, stays); len(found) < len(stays) {
		t.Errorf("of the others, only %d of %d stayed", len(found), len(stays))
	}
	wantHits(t, s, "more", 1000)
	wantHits(t, s, "meanwhile", n)
	must(t, s.Close(), sound(path))
	if found := traces(t, dir, gone); len(found) > 0 {
		t.Errorf("%d traces in closed files: %.300q", len(found), found)
	}
}

// A file of the version before, which overwrote nothing, is clean as well after an erasure.
func TestEraseOldFile(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "history.db"))
	must(t, s.ExecWriter("PRAGMA secure_delete = OFF"))
	gone, _ := fillForErasure(t, s)
	must(t, s.Close())
	s = openAt(t, filepath.Join(dir, "history.db"))
	_, err := s.EraseUser(t.Context(), "the-erased-one")
	must(t, err)
	if found := traces(t, dir, gone); len(found) > 0 {
		t.Errorf("%d traces: %.300q", len(found), found)
	}
}

// Each part of an erasure is necessary: without it, something is left.
func TestEraseNeeds(t *testing.T) {
	for name, erase := range map[string]func(s *sqlite.Store) error{
		"secure_delete": func(s *sqlite.Store) error {
			if err := s.ExecWriter("PRAGMA secure_delete = OFF"); err != nil {
				return err
			}
			return s.EraseRows(t.Context(), "own room of the erased")
		},
		"the log": func(s *sqlite.Store) error { return s.EraseRows(t.Context(), "own room of the erased") },
	} {
		dir := t.TempDir()
		s := openAt(t, filepath.Join(dir, "history.db"))
		gone, _ := fillForErasure(t, s)
		must(t, erase(s))
		if name != "the log" {
			must(t, s.Checkpoint())
		}
		if found := traces(t, dir, gone[:1000]); len(found) == 0 {
			t.Errorf("without %s, nothing is left", name)
		}
	}
}

// An erasure waits for those who read an earlier state, and says so if it must not wait longer.
func TestEraseWaits(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "history.db"))
	write(t, s, "a", "geheim", 3)
	release := s.HoldSnapshot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.EraseRoom(ctx, "a"); history.Code(err) != history.ErrUnavailable.Code {
		t.Errorf("while somebody reads: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.EraseRoom(t.Context(), "a") // repeated
		done <- err
	}()
	release()
	must(t, <-done)
	if found := traces(t, dir, []string{"geheim"}); len(found) > 0 {
		t.Errorf("left: %q", found)
	}
}
