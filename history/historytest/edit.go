package historytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/history"
)

// editor is a store that can change messages.
type editor interface {
	history.Store
	history.Editor
}

var editTests = []test[editor]{
	{"Edit", testEdit},
	{"Tombstone", testTombstone},
	{"EditConditions", testEditConditions},
	{"EditRefused", testEditRefused},
	{"EditNote", testEditNote},
	{"EditReplay", testEditReplay},
	{"EditPages", testEditPages},
	{"EditChanges", testEditChanges},
	{"EditContention", testEditContention},
	{"EditVisibility", testEditVisibility},
	{"EditClosed", testEditClosed},
}

func mustEdit(t *testing.T, store editor, e history.Edit) history.Message {
	t.Helper()
	edited, err := store.Edit(context.Background(), e)
	if err != nil || !edited.Changed {
		t.Fatalf("edit of %s %d: %+v, %v", e.RoomID, e.Seq, edited, err)
	}
	return edited.Message
}

// edit makes {"n":n} of a message, or a tombstone if n is negative.
func edit(room string, seq int64, n int) history.Edit {
	e := history.Edit{RoomID: room, Seq: seq}
	if n >= 0 {
		e.Message = json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))
	}
	return e
}

// wantStored checks a message as all ways of reading show it.
func wantStored(t *testing.T, store editor, want history.Message) {
	t.Helper()
	m, err := store.Message(context.Background(), want.RoomID, want.Seq)
	if err != nil {
		t.Fatalf("message %d of %s: %v", want.Seq, want.RoomID, err)
	}
	wantSame(t, "read alone", m, want)
	wantSame(t, "read in a page", mustHistory(t, store, want.RoomID, history.Page{Around: want.Seq, Limit: history.Limit{Messages: 1}}).Messages[0], want)
	wantSame(t, "read as a change", mustChanges(t, store, want.RoomID, want.Number()-1, 1).Messages[0], want)
}

func testEdit(t *testing.T, store editor) {
	d := draft("a", 1)
	d.ClientID = "c1"
	first := mustAppend(t, store, d, draft("a", 2), draft("b", 1))[0]
	text := []byte(` { "n" : 9, "half": "\ud800" } `)
	got := mustEdit(t, store, history.Edit{RoomID: "a", Seq: 1, Message: text})
	clear(text) // the caller may reuse it
	want := first
	want.Rev, want.Message, want.EditedAt = 3, json.RawMessage(`{"n":9,"half":"\ufffd"}`), got.EditedAt
	wantSame(t, "edited", got, want)
	if got.EditedAt.Before(got.Timestamp.Time) {
		t.Errorf("edited at %v, sent at %v", got.EditedAt, got.Timestamp)
	}
	wantStored(t, store, want)

	// A change takes a number of its room, and of no other.
	if m := mustAppend(t, store, draft("a", 3))[0]; m.Seq != 4 {
		t.Errorf("the message after an edit has number %d", m.Seq)
	}
	if m := mustAppend(t, store, draft("b", 2))[0]; m.Seq != 2 {
		t.Errorf("in another room, number %d", m.Seq)
	}
	want = mustEdit(t, store, edit("a", 1, 10))
	if want.Rev != 5 || want.Seq != 1 || want.ID != first.ID {
		t.Errorf("edited again: %+v", want)
	}
	wantStored(t, store, want)

	// An edit that changes nothing takes no number.
	for _, e := range []history.Edit{edit("a", 1, 10), {RoomID: "a", Seq: 1, Message: []byte(` {"n": 10}`)}, {RoomID: "a", Seq: 1, Message: []byte(`{"n":10}`), IfRev: 3}} {
		edited, err := store.Edit(context.Background(), e)
		if err != nil || edited.Changed {
			t.Errorf("the same content: %+v, %v", edited, err)
		}
		wantSame(t, "the same content", edited.Message, want)
	}
	if s := mustHistory(t, store, "a", history.Page{}); s.Head != 5 || len(s.Messages) != 3 {
		t.Errorf("head %d, %d messages", s.Head, len(s.Messages))
	}
}

func testTombstone(t *testing.T, store editor) {
	d := draft("a", 1)
	d.ClientID = "c1"
	first := mustAppend(t, store, d, draft("a", 2))[0]
	got := mustEdit(t, store, edit("a", 1, -1))
	want := first
	want.Rev, want.Message, want.Deleted, want.EditedAt = 3, nil, true, got.EditedAt
	wantSame(t, "deleted", got, want)
	if got.Message != nil {
		t.Errorf("a tombstone has the content %s", got.Message)
	}
	wantStored(t, store, want)

	// Deleting it again changes nothing, whatever the condition.
	again := edit("a", 1, -1)
	again.IfRev = 1
	edited, err := store.Edit(context.Background(), again)
	if err != nil || edited.Changed || edited.Message.Rev != 3 {
		t.Errorf("deleted again: %+v, %v", edited, err)
	}
	// It stays deleted, also if the new content looks like none.
	for _, content := range []string{`{"n":1}`, `null`} {
		_, err := store.Edit(context.Background(), history.Edit{RoomID: "a", Seq: 1, Message: []byte(content)})
		wantConflict(t, "edit of a tombstone", err, want)
	}
	// Content that looks like none is content.
	null := mustEdit(t, store, history.Edit{RoomID: "a", Seq: 2, Message: []byte(`null`)})
	if null.Deleted || string(null.Message) != "null" {
		t.Errorf("null: %+v", null)
	}
	wantStored(t, store, null)
	if m := mustEdit(t, store, edit("a", 2, -1)); !m.Deleted || m.Rev != 5 {
		t.Errorf("deleted: %+v", m)
	}
}

func wantConflict(t *testing.T, what string, err error, want history.Message) {
	t.Helper()
	var conflict *history.Conflict
	if !errors.Is(err, history.ErrConflict) || !errors.As(err, &conflict) || conflict.Message == nil {
		t.Errorf("%s: error %v", what, err)
		return
	}
	wantSame(t, what, *conflict.Message, want)
}

func testEditConditions(t *testing.T, store editor) {
	first := mustAppend(t, store, draft("a", 1), draft("a", 2))[0]
	e := edit("a", 1, 5)
	e.IfRev = 2
	_, err := store.Edit(context.Background(), e)
	wantConflict(t, "another number", err, first)
	e.IfRev = 1 // of a message that was never changed: its seq
	m := mustEdit(t, store, e)
	e = edit("a", 1, 6)
	e.IfRev = 1
	_, err = store.Edit(context.Background(), e)
	wantConflict(t, "an earlier number", err, m)
	e = edit("a", 1, -1)
	e.IfRev = 1
	_, err = store.Edit(context.Background(), e)
	wantConflict(t, "an earlier number, to delete", err, m)
	wantStored(t, store, m)
	e.IfRev = m.Rev
	mustEdit(t, store, e)
}

func testEditRefused(t *testing.T, store editor) {
	first := mustAppend(t, store, draft("a", 1), draft("b", 1), draft("a", 2))[0]
	mustEdit(t, store, edit("a", 3-1, 3)) // number 3 is a change of message 2
	ctx := context.Background()
	for _, test := range []struct {
		why  string
		want error
		edit history.Edit
	}{
		{"no room", history.ErrBadRoom, edit("", 1, 1)},
		{"no such room", history.ErrNotFound, edit("none", 1, 1)},
		{"after the last", history.ErrNotFound, edit("a", 4, 1)},
		{"the number of a change", history.ErrNotFound, edit("a", 3, 1)},
		{"before the first", history.ErrNotFound, edit("a", 0, 1)},
		{"negative", history.ErrNotFound, edit("a", -1, 1)},
		{"in the next room", history.ErrNotFound, edit("a", 1<<32+1, 1)},
		{"huge", history.ErrNotFound, edit("a", 1<<62, -1)},
		{"no JSON", history.ErrBadDraft, history.Edit{RoomID: "a", Seq: 1, Message: []byte(`{`)}},
		{"empty", history.ErrBadDraft, history.Edit{RoomID: "a", Seq: 1, Message: []byte{}}},
		{"not UTF-8", history.ErrBadDraft, history.Edit{RoomID: "a", Seq: 1, Message: []byte("\"\xff\"")}},
		{"too large", history.ErrTooLarge, history.Edit{RoomID: "a", Seq: 1, Message: text(history.MaxMessage + 1)}},
	} {
		if _, err := store.Edit(ctx, test.edit); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.why, err, test.want)
		}
	}
	for _, seq := range []int64{-1, 0, 3, 4, 1<<32 + 1, 1 << 62} {
		if _, err := store.Message(ctx, "a", seq); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("message %d: error %v", seq, err)
		}
	}
	if _, err := store.Message(ctx, "none", 1); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("message of a room that does not exist: error %v", err)
	}
	if _, err := store.Message(ctx, "", 1); !errors.Is(err, history.ErrBadRoom) {
		t.Errorf("message of no room: error %v", err)
	}
	if heads, err := store.Heads(ctx, []string{"a", "b", "none"}); err != nil || heads["a"] != 3 || heads["b"] != 1 || len(heads) != 2 {
		t.Errorf("heads %v, %v", heads, err)
	}
	wantStored(t, store, first)
	// The maximum is accepted.
	mustEdit(t, store, history.Edit{RoomID: "a", Seq: 1, Message: text(history.MaxMessage)})
}

// testEditNote: an edit and its note are stored together, or neither is.
func testEditNote(t *testing.T, store editor) {
	ctx := context.Background()
	first := mustAppend(t, store, draft("a", 1), draft("notes", 1))[0]
	note := func(id string) *history.Draft {
		return &history.Draft{RoomID: "notes", OperatorID: "op", ClientID: id, Message: []byte(`{ "event": "edited"}`)}
	}
	e := edit("a", 1, 2)
	e.Note = note("c1")
	edited, err := store.Edit(ctx, e)
	if err != nil || edited.Note == nil || edited.Note.Seq != 2 || string(edited.Note.Message) != `{"event":"edited"}` || edited.Note.OperatorID != "op" {
		t.Fatalf("with a note: %+v, %v", edited, err)
	}
	wantStored(t, store, edited.Message)
	wantStored(t, store, *edited.Note)

	// If nothing changes, there is nothing to note.
	if edited, err := store.Edit(ctx, e); err != nil || edited.Changed || edited.Note != nil {
		t.Errorf("again: %+v, %v", edited, err)
	}
	conflict := edit("a", 1, 3)
	conflict.IfRev, conflict.Note = first.Seq, note("c2")
	if _, err := store.Edit(ctx, conflict); !errors.Is(err, history.ErrConflict) {
		t.Errorf("conflict: %v", err)
	}
	wantSeqs(t, "notes", mustHistory(t, store, "notes", history.Page{}).Messages, 1, 2)

	// A note in a room that does not exist yet.
	e = edit("a", 1, -1)
	e.Note = note("c1")
	e.Note.RoomID = "~notes/a"
	if edited, err := store.Edit(ctx, e); err != nil || edited.Note.Seq != 1 || edited.Message.Rev != 3 {
		t.Errorf("the first note: %+v, %v", edited, err)
	}
	second := mustAppend(t, store, draft("a", 4))[0]
	for why, n := range map[string]struct {
		note *history.Draft
		want error
	}{
		"no author":          {&history.Draft{RoomID: "notes", Message: []byte("1")}, history.ErrBadDraft},
		"another's id":       {&history.Draft{RoomID: "notes", OperatorID: "op", ClientID: "c1", Message: []byte("1")}, history.ErrKeyReuse},
		"in the edited room": {&history.Draft{RoomID: "a", OperatorID: "op", Message: []byte("1")}, history.ErrBadDraft},
	} {
		e := edit("a", second.Seq, 5)
		e.Note = n.note
		if _, err := store.Edit(ctx, e); !errors.Is(err, n.want) {
			t.Errorf("note with %s: error %v, want %v", why, err, n.want)
		}
	}
	wantStored(t, store, second)
	// A note that is stored already is not stored again.
	e = edit("a", second.Seq, 5)
	e.Note = note("c1")
	if edited, err := store.Edit(ctx, e); err != nil || !edited.Changed || edited.Note == nil || edited.Note.Seq != 2 {
		t.Errorf("a known note: %+v, %v", edited, err)
	}
	wantSeqs(t, "notes", mustHistory(t, store, "notes", history.Page{}).Messages, 1, 2)
}

// testEditReplay: who repeats an append learns of the message as it is now.
func testEditReplay(t *testing.T, store editor) {
	keyed := func(id string, n int) history.Draft {
		d := draft("a", n)
		d.ClientID = id
		return d
	}
	mustAppend(t, store, keyed("c1", 1), keyed("c2", 2), keyed("c3", 3))
	want := []history.Message{mustEdit(t, store, edit("a", 1, 7)), mustEdit(t, store, edit("a", 2, -1))}
	results, err := store.Append(context.Background(), []history.Draft{
		keyed("c1", 1), keyed("c2", 2), keyed("c1", 99), keyed("c2", 99), keyed("c3", 99), keyed("c4", 4),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results[:4] {
		if r.Err != nil || !r.Dup {
			t.Errorf("replay %d: %+v", i, r)
		}
		wantSame(t, "replay", r.Message, want[i%2])
	}
	if !errors.Is(results[4].Err, history.ErrKeyReuse) {
		t.Errorf("other content for a message that was not changed: %+v", results[4])
	}
	if results[5].Err != nil || results[5].Message.Seq != 6 {
		t.Errorf("a new message beside replays: %+v", results[5])
	}
}

// testEditPages: pages are in the order of seq, and numbers of changes are missing in it.
func testEditPages(t *testing.T, store editor) {
	// Messages 1, 2, 4 and 7; the numbers 3, 5, 6 and 8 are changes.
	mustAppend(t, store, draft("0", 1), draft("a", 1), draft("a", 2), draft("b", 1))
	mustEdit(t, store, edit("a", 1, 10))
	mustAppend(t, store, draft("a", 4))
	mustEdit(t, store, edit("a", 2, -1))
	mustEdit(t, store, edit("a", 2-1, 11))
	mustAppend(t, store, draft("a", 7))
	mustEdit(t, store, edit("a", 7, 12))
	for _, test := range []struct {
		page                  history.Page // of two messages
		want                  string
		moreBefore, moreAfter bool
	}{
		{history.Page{}, "[4 7]", true, false},
		{history.Page{Before: 9}, "[4 7]", true, false},
		{history.Page{Before: 8}, "[4 7]", true, false}, // the newest number, but no message
		{history.Page{Before: 7}, "[2 4]", true, true},
		{history.Page{Before: 6}, "[2 4]", true, true},
		{history.Page{Before: 4}, "[1 2]", false, true},
		{history.Page{Before: 3}, "[1 2]", false, true},
		{history.Page{Before: 2}, "[1]", false, true},
		{history.Page{Before: 1}, "[]", false, true},
		{history.Page{After: -1}, "[1 2]", false, true},
		{history.Page{After: 1}, "[2 4]", true, true},
		{history.Page{After: 2}, "[4 7]", true, false},
		{history.Page{After: 3}, "[4 7]", true, false},
		{history.Page{After: 5}, "[7]", true, false},
		{history.Page{After: 7}, "[]", true, false},
		{history.Page{After: 8}, "[]", true, false},
		{history.Page{Around: 1}, "[1]", false, true},
		{history.Page{Around: 2}, "[1 2]", false, true},
		{history.Page{Around: 3}, "[2 4]", true, true},
		{history.Page{Around: 5}, "[4 7]", true, false},
		{history.Page{Around: 7}, "[4 7]", true, false},
		{history.Page{Around: 8}, "[7]", true, false},
		{history.Page{Around: 99}, "[7]", true, false},
	} {
		test.page.Limit.Messages = 2
		s := mustHistory(t, store, "a", test.page)
		seqs := make([]int64, len(s.Messages))
		for i, m := range s.Messages {
			seqs[i] = m.Seq
		}
		if fmt.Sprint(seqs) != test.want || s.MoreBefore != test.moreBefore || s.MoreAfter != test.moreAfter || s.Head != 8 {
			t.Errorf("%+v: %v, more %v %v, head %d; want %s, more %v %v",
				test.page, seqs, s.MoreBefore, s.MoreAfter, s.Head, test.want, test.moreBefore, test.moreAfter)
		}
	}
}

// testEditChanges: each message comes once, at the number of its last change.
func testEditChanges(t *testing.T, store editor) {
	mustAppend(t, store, draft("a", 1), draft("a", 2), draft("a", 3), draft("a", 4), draft("a", 5),
		history.Draft{RoomID: "a", UserID: "ann", Message: text(10_000)}, draft("b", 1))
	mustEdit(t, store, edit("a", 2, 10)) // 7
	mustEdit(t, store, edit("a", 4, 11)) // 8, superseded by 9
	mustEdit(t, store, edit("a", 4, -1)) // 9
	mustEdit(t, store, edit("b", 1, 10))
	for _, test := range []struct {
		since int64
		limit history.Limit
		want  string
		upTo  int64
	}{
		{0, history.Limit{}, "[1 3 5 6 7 9]", 9},
		{0, history.Limit{Messages: 3}, "[1 3 5]", 5},
		{0, history.Limit{Messages: 4}, "[1 3 5 6]", 6},
		{0, history.Limit{Messages: 5}, "[1 3 5 6 7]", 7},
		{0, history.Limit{Messages: 6}, "[1 3 5 6 7 9]", 9},
		{0, history.Limit{Bytes: 2000}, "[1 3 5]", 5}, // 7 would fit, but 6 does not
		{1, history.Limit{Messages: 1}, "[3]", 3},
		{3, history.Limit{Bytes: 500}, "[5]", 5},
		{5, history.Limit{Bytes: 2000}, "[6]", 6},
		{6, history.Limit{Bytes: 1}, "[7]", 7},
		{6, history.Limit{Bytes: 2000}, "[7 9]", 9},
		{6, history.Limit{Messages: 1}, "[7]", 7},
		{7, history.Limit{}, "[9]", 9},
		{8, history.Limit{Messages: 1}, "[9]", 9},
		{9, history.Limit{}, "[]", 9},
	} {
		s, err := store.Changes(context.Background(), "a", test.since, test.limit)
		numbers := make([]int64, len(s.Messages))
		for i := range numbers {
			numbers[i] = s.Messages[i].Number()
		}
		if err != nil || fmt.Sprint(numbers) != test.want || s.UpTo != test.upTo || s.Head != 9 || s.MoreAfter != (test.upTo < 9) {
			t.Errorf("since %d, limit %+v: %v up to %d of %d, %v; want %s up to %d",
				test.since, test.limit, numbers, s.UpTo, s.Head, err, test.want, test.upTo)
		}
	}

	// A tombstone fits where the message that follows does not.
	mustAppend(t, store, draft("c", 1), draft("c", 2))
	gone := mustEdit(t, store, edit("c", 1, -1))
	fits := gone.Size() + mustAppend(t, store, draft("c", 3))[0].Size()
	s, err := store.Changes(context.Background(), "c", 1, history.Limit{Bytes: fits})
	if err != nil || len(s.Messages) != 2 || s.Messages[1].Number() != 3 || s.UpTo != 3 || !s.MoreAfter {
		t.Errorf("%d bytes: %d messages up to %d, %v", fits, len(s.Messages), s.UpTo, err)
	}
}

// testEditContention: of many edits with the same condition, one wins.
func testEditContention(t *testing.T, store editor) {
	m := mustAppend(t, store, draft("a", 0))[0]
	for range 10 {
		var mu sync.Mutex
		var won []history.Message
		var group sync.WaitGroup
		for n := range 8 {
			group.Go(func() {
				e := edit("a", 1, int(m.Number())*10+n)
				e.IfRev = m.Number()
				switch edited, err := store.Edit(context.Background(), e); {
				case err == nil:
					mu.Lock()
					won = append(won, edited.Message)
					mu.Unlock()
				case !errors.Is(err, history.ErrConflict):
					t.Errorf("edit: %v", err)
				}
			})
		}
		group.Wait()
		if len(won) != 1 || won[0].Rev != m.Number()+1 {
			t.Fatalf("after %d: %d won, %+v", m.Number(), len(won), won)
		}
		m = won[0]
		wantStored(t, store, m)
	}
}

// testEditVisibility: a reader that follows the changes ends with what is stored, while others append
// and edit.
func testEditVisibility(t *testing.T, store editor) {
	mustAppend(t, store, draft("a", 0))
	held := map[int64]history.Message{}
	var pos int64
	edits := make(chan struct{})
	go func() {
		defer close(edits)
		for n := range perWriter {
			if _, err := store.Edit(context.Background(), edit("a", 1, n+1)); err != nil {
				t.Errorf("edit: %v", err)
			}
		}
	}()
	read := func() {
		for {
			s, err := store.Changes(context.Background(), "a", pos, history.Limit{Messages: 7})
			if err != nil {
				t.Errorf("changes: %v", err)
				return
			}
			for _, m := range s.Messages {
				if m.Number() <= pos || m.Number() > s.UpTo {
					t.Fatalf("%d follows %d, up to %d", m.Number(), pos, s.UpTo)
				}
				pos, held[m.Seq] = m.Number(), m
			}
			if s.UpTo < pos || s.UpTo > s.Head {
				t.Fatalf("at %d: up to %d, head %d", pos, s.UpTo, s.Head)
			}
			if pos = s.UpTo; pos == s.Head {
				return
			}
		}
	}
	write(t, store, []string{"a"}, read)
	<-edits
	read()
	for page := (history.Page{After: -1, Limit: history.Limit{Messages: history.MaxLimit}}); ; {
		s := mustHistory(t, store, "a", page)
		for _, m := range s.Messages {
			wantSame(t, "held", held[m.Seq], m)
			delete(held, m.Seq)
			page.After = m.Seq
		}
		if !s.MoreAfter {
			break
		}
	}
	if len(held) > 0 {
		t.Errorf("%d messages too many", len(held))
	}
}

func testEditClosed(t *testing.T, store editor) {
	mustAppend(t, store, draft("a", 1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := store.Edit(ctx, edit("a", 1, 2)); !errors.Is(err, context.Canceled) || !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("cancelled edit: error %v", err)
	}
	if _, err := store.Message(ctx, "a", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled message: error %v", err)
	}
	if m, err := store.Message(context.Background(), "a", 1); err != nil || m.Rev != 0 || !strings.Contains(string(m.Message), "1") {
		t.Errorf("a cancelled edit was stored: %+v, %v", m, err)
	}
	store.Close()
	if _, err := store.Edit(context.Background(), edit("a", 1, 2)); !errors.Is(err, history.ErrClosed) {
		t.Errorf("edit: error %v", err)
	}
	if _, err := store.Message(context.Background(), "a", 1); !errors.Is(err, history.ErrClosed) {
		t.Errorf("message: error %v", err)
	}
}
