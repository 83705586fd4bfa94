package sqlite_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// The words that traces looks for begin with random digits and end with a rare text, which is found
// quickly. In the index, a word can lack the digits that it shares with its neighbour.
const (
	rare       = "yqjxz"
	rareDigits = 12 // that are compared, of 16
)

func rareWord() string { return fmt.Sprintf("%016x%s", rand.Uint64(), rare) }

// traces returns which of some texts stand in the files of a directory.
func traces(t *testing.T, dir string, texts []string) (found []string) {
	t.Helper()
	for _, name := range names(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		there := make(map[string]bool)
		for rest := data; ; {
			at := bytes.Index(rest, []byte(rare))
			if at < 0 {
				break
			}
			there[string(rest[max(0, at-rareDigits):at])] = true
			rest = rest[at+len(rare):]
		}
		for _, text := range texts {
			digits, ok := strings.CutSuffix(text, rare)
			if ok && there[digits[len(digits)-rareDigits:]] || !ok && bytes.Contains(data, []byte(text)) {
				found = append(found, text+" in "+name)
			}
		}
	}
	return found
}

// erasedMessages is how many messages the user has that is erased, and as many have others. A tenth more
// are the user's in free rooms, and again as many are notes.
const erasedMessages = 400

// fillForErasure stores messages and data of one user between those of many others. It returns what
// must not be found after the user was erased, and what must stay.
func fillForErasure(t *testing.T, s *sqlite.Store) (gone, stays []string) {
	t.Helper()
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
	for n := range erasedMessages {
		mine, other := rareWord(), rareWord()
		gone, stays = append(gone, mine), append(stays, other)
		add("own room of the erased", "the-erased-one", mine)
		add(fmt.Sprint("of others ", n%40), "somebody", other)
		if n%10 == 0 {
			free, note := rareWord(), rareWord()
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

// writeMeanwhile stores some messages at a time until stop is called, which returns how many they were.
// It returns when it has begun.
func writeMeanwhile(t *testing.T, s *sqlite.Store, messages int) (stop func() int) {
	begun, ended, written := make(chan struct{}), make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				written <- n * messages
				return
			default:
				write(t, s, fmt.Sprint("of others ", n%40), "meanwhile", messages)
			}
			if n == 0 {
				close(begun)
			}
		}
	}()
	<-begun
	return func() int {
		close(ended)
		return <-written
	}
}

// An erasure ends although others write all the time, and faster than their words get into the index.
func TestEraseEnds(t *testing.T) {
	s := openSearch(t, filepath.Join(t.TempDir(), "history.db"))
	write(t, s, "erased", "geheim", 3)
	wantHits(t, s, "geheim", 3)
	for range 2 {
		defer writeMeanwhile(t, s, 100)()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	_, err := s.EraseRoom(ctx, "erased")
	must(t, err)
}

// Of an erased user, no byte is left in any file, although others write meanwhile. What others have
// stays.
func TestErase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	s := openSearch(t, path)
	gone, stays := fillForErasure(t, s)
	wantHits(t, s, "more", 2*erasedMessages+erasedMessages/10) // notes are not found
	if found := traces(t, dir, gone); len(found) < len(gone) {
		t.Fatalf("before, only %d of %d", len(found), len(gone))
	}
	stop := writeMeanwhile(t, s, 1)
	e, err := s.EraseUser(t.Context(), "the-erased-one")
	n := stop()
	if err != nil || len(e.Rooms) != 1 || e.Messages != erasedMessages*11/10 || len(e.Changed) != erasedMessages/10 {
		t.Errorf("erased %d rooms, %d messages; %d tombstones, %v", len(e.Rooms), e.Messages, len(e.Changed), err)
	}
	if found := traces(t, dir, gone); len(found) > 0 {
		t.Errorf("%d traces: %.300q", len(found), found)
	}
	if found := traces(t, dir, stays); len(found) < len(stays) {
		t.Errorf("of the others, only %d of %d stayed", len(found), len(stays))
	}
	wantHits(t, s, "more", erasedMessages)
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
		if found := traces(t, dir, gone[:erasedMessages]); len(found) == 0 {
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
