package historytest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

func mustPut(t *testing.T, store rooms, p history.Person) history.Person {
	t.Helper()
	put, err := store.PutPerson(context.Background(), p)
	if err != nil {
		t.Fatalf("put %+v: %v", p, err)
	}
	wantPerson(t, store, put)
	return put
}

func wantPerson(t *testing.T, store rooms, want history.Person) {
	t.Helper()
	got, err := store.Person(context.Background(), want.UserID)
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if err != nil || string(g) != string(w) {
		t.Errorf("person %s, %v; want %s", g, err, w)
	}
}

func testPerson(t *testing.T, store rooms) {
	ctx := context.Background()
	before := time.Now().Truncate(time.Millisecond)
	p := mustPut(t, store, history.Person{UserID: "ann", CreatedAt: history.TimeMilli(1), Became: "x"})
	if p.UserID != "ann" || p.Name != "" || p.Verified || p.Became != "" || p.CreatedAt.Before(before) || !p.SeenAt.Equal(p.CreatedAt.Time) {
		t.Errorf("new: %+v", p)
	}
	seen := history.TimeMilli(p.SeenAt.UnixMilli() + 1000)
	for _, step := range []struct {
		put  history.Person
		want func(*history.Person)
	}{
		{history.Person{Name: "Ann", Attributes: json.RawMessage(`{"plan":"pro","n":{"x":1}}`)}, func(p *history.Person) {
			p.Name, p.Attributes = "Ann", json.RawMessage(`{"n":{"x":1},"plan":"pro"}`)
		}},
		{history.Person{Email: "ann@example.org", SeenAt: seen}, func(p *history.Person) { p.Email, p.SeenAt = "ann@example.org", seen }},
		{history.Person{Verified: true, SeenAt: history.TimeMilli(1)}, func(p *history.Person) { p.Verified = true }},
		{history.Person{Name: "Anna", Attributes: json.RawMessage(`{"n":{"x":null}}`)}, func(p *history.Person) {
			p.Name, p.Attributes = "Anna", json.RawMessage(`{"n":{},"plan":"pro"}`)
		}},
		{history.Person{Attributes: json.RawMessage(`{"n":null,"plan":null}`)}, func(p *history.Person) { p.Attributes = nil }},
	} {
		step.put.UserID = "ann"
		mustPut(t, store, step.put)
		step.want(&p)
		wantPerson(t, store, p)
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		why  string
		want error
		p    history.Person
	}{
		{"no id", history.ErrBadDraft, history.Person{}},
		{"long id", history.ErrBadDraft, history.Person{UserID: long(history.MaxMemberID + 1)}},
		{"long name", history.ErrBadDraft, history.Person{UserID: "ann", Name: long(history.MaxName + 1)}},
		{"name with a line break", history.ErrBadDraft, history.Person{UserID: "ann", Name: "a\nb"}},
		{"long address", history.ErrBadDraft, history.Person{UserID: "ann", Email: long(history.MaxEmail + 1)}},
		{"attributes are a list", history.ErrBadDraft, history.Person{UserID: "ann", Attributes: json.RawMessage(`[]`)}},
		{"deep attributes", history.ErrBadDraft, history.Person{UserID: "ann", Attributes: json.RawMessage(`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`)}},
		{"large attributes", history.ErrTooLarge, history.Person{UserID: "ann", Attributes: json.RawMessage(`{"a":"` + long(history.MaxAttributes) + `"}`)}},
	} {
		if _, err := store.PutPerson(ctx, test.p); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v", test.why, err)
		}
	}
	wantPerson(t, store, p)
	if _, err := store.Person(ctx, "none"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func identities(t *testing.T, store rooms, userID string, want ...string) {
	t.Helper()
	if got, err := store.Identities(context.Background(), userID); err != nil || !slices.Equal(got, want) {
		t.Errorf("identities of %s: %v, %v; want %v", userID, got, err, want)
	}
}

func mergedNote(room string) *history.Draft {
	return &history.Draft{RoomID: history.NotesRoom(room), UserID: "ann", ClientID: "x", Message: json.RawMessage(`{"event":"merged"}`)}
}

func testMerge(t *testing.T, store rooms) {
	ctx := context.Background()
	mustAppend(t, store, say("a", history.Member{UserID: "v1"}, 1), say("b", history.Member{UserID: "v1"}, 1), say("other", bob, 1))
	updated, err := store.Merge(ctx, "v1", "ann", mergedNote)
	if err != nil || len(updated) != 2 {
		t.Fatalf("merged %+v, %v", updated, err)
	}
	for i, room := range []string{"a", "b"} {
		u := updated[i]
		r := mustRoom(t, store, room, nobodyAsks)
		wantRoom(t, "merged", u.Room, r)
		if !u.Changed || r.UserID != "ann" || r.Change != int64(4+i) {
			t.Errorf("%s: %+v", room, u)
		}
		if u.Note == nil || u.Note.RoomID != history.NotesRoom(room) || u.Note.Seq != 1 {
			t.Fatalf("%s: note %+v", room, u.Note)
		}
		wantSame(t, "the note", mustHistory(t, store, history.NotesRoom(room), history.Page{}).Messages[0], *u.Note)
		if m := mustHistory(t, store, room, history.Page{}).Messages[0]; m.UserID != "v1" {
			t.Errorf("an old message has changed: %+v", m)
		}
	}
	if v, err := store.Person(ctx, "v1"); err != nil || v.Became != "ann" {
		t.Errorf("the visitor: %+v, %v", v, err)
	}
	if p, err := store.Person(ctx, "ann"); err != nil || p.UserID != "ann" || p.Became != "" {
		t.Errorf("the user: %+v, %v", p, err)
	}
	identities(t, store, "ann", "ann", "v1")
	identities(t, store, "v1", "v1")
	identities(t, store, "none", "none")

	// Repeating it does nothing.
	head := mustRoom(t, store, "b", nobodyAsks).Change
	if again, err := store.Merge(ctx, "v1", "ann", mergedNote); err != nil || len(again) != 0 {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	if list, err := store.ListRooms(ctx, history.RoomQuery{UserID: "ann"}); err != nil || len(list.Rooms) != 2 || list.Head != head {
		t.Errorf("after repeating it: %+v, %v", list, err)
	}
	// A second visitor, without notes, and a third one, which has no conversation.
	mustAppend(t, store, say("c", history.Member{UserID: "v0"}, 1))
	if updated, err := store.Merge(ctx, "v0", "ann", nil); err != nil || len(updated) != 1 || updated[0].Note != nil {
		t.Errorf("without notes: %+v, %v", updated, err)
	}
	if updated, err := store.Merge(ctx, "v2", "ann", mergedNote); err != nil || len(updated) != 0 {
		t.Errorf("a visitor without a conversation: %+v, %v", updated, err)
	}
	identities(t, store, "ann", "ann", "v0", "v1", "v2")
	// The user becomes somebody else: so do those that it was.
	if updated, err := store.Merge(ctx, "ann", "eve", nil); err != nil || len(updated) != 3 {
		t.Errorf("merged twice: %+v, %v", updated, err)
	}
	identities(t, store, "eve", "eve", "ann", "v0", "v1", "v2")
	identities(t, store, "ann", "ann")
	if got := listAll(t, store, history.RoomQuery{UserID: "eve", Sort: history.ByCreated}); !slices.Equal(got, []string{"c", "b", "a"}) {
		t.Errorf("conversations: %v", got)
	}
	// The next message belongs to the conversation of the user.
	if m := mustAppend(t, store, say("a", op1, 2))[0]; m.UserID != "eve" {
		t.Errorf("an answer: %+v", m)
	}
}

// testMergeReplay: a user repeats what it has sent as a visitor.
func testMergeReplay(t *testing.T, store rooms) {
	ctx := context.Background()
	visitor := say("a", history.Member{UserID: "v1"}, 1)
	visitor.ClientID = "c1"
	original := mustAppend(t, store, visitor)[0]
	user, other, stranger := say("a", ann, 1), say("a", ann, 2), say("a", bob, 1)
	user.ClientID, other.ClientID, stranger.ClientID = "c1", "c1", "c1"
	if _, err := store.Merge(ctx, "v1", "ann", nil); err != nil {
		t.Fatal(err)
	}
	was := mustRoom(t, store, "a", nobodyAsks)
	results, err := store.Append(ctx, []history.Draft{user, visitor, other})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results[:2] {
		if r.Err != nil || !r.Dup {
			t.Errorf("repeated after the merge: %+v", r)
		}
		wantSame(t, "repeated after the merge", r.Message, original)
	}
	if !errors.Is(results[2].Err, history.ErrKeyReuse) {
		t.Errorf("the id of another message: %+v", results[2])
	}
	wantRoom(t, "after repetitions", mustRoom(t, store, "a", nobodyAsks), was)
	// Somebody else's id is somebody else's, and a new id is a new message, which can be repeated.
	mustAppend(t, store, stranger)
	user.ClientID = "c2"
	mustAppend(t, store, user)
	if results, err := store.Append(ctx, []history.Draft{user}); err != nil || !results[0].Dup {
		t.Errorf("repeated: %+v, %v", results, err)
	}
}

func testMergeRefused(t *testing.T, store rooms) {
	ctx := context.Background()
	mustAppend(t, store, say("a", history.Member{UserID: "v1"}, 1), say("b", history.Member{UserID: "v2"}, 1))
	if _, err := store.Merge(ctx, "v1", "ann", nil); err != nil {
		t.Fatal(err)
	}
	mustPut(t, store, history.Person{UserID: "bob", Verified: true})
	was := mustRoom(t, store, "b", nobodyAsks)
	for _, test := range []struct {
		why           string
		visitor, user string
		note          func(string) *history.Draft
		want          error
	}{
		{"merged into somebody else", "v1", "bob", nil, history.ErrConflict},
		{"a verified user", "bob", "ann", nil, history.ErrConflict},
		{"into somebody who was merged", "v2", "v1", nil, history.ErrConflict},
		{"into itself", "v2", "v2", nil, history.ErrBadDraft},
		{"nobody", "", "ann", nil, history.ErrBadDraft},
		{"into nobody", "v2", "", nil, history.ErrBadDraft},
		{"a bad note", "v2", "ann", func(room string) *history.Draft { return &history.Draft{RoomID: history.NotesRoom(room)} }, history.ErrBadDraft},
		{"a note in the room itself", "v2", "ann", func(room string) *history.Draft { d := draft(room, 1); return &d }, history.ErrBadDraft},
	} {
		if _, err := store.Merge(ctx, test.visitor, test.user, test.note); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v", test.why, err)
		}
	}
	wantRoom(t, "after refused merges", mustRoom(t, store, "b", nobodyAsks), was)
	identities(t, store, "ann", "ann", "v1")
}

// testMergeMarks: what the visitor has read, the user has read.
func testMergeMarks(t *testing.T, store markedRooms) {
	ctx := context.Background()
	v := history.Member{UserID: "v1"}
	mustAppend(t, store, say("a", v, 1), say("a", op1, 2), say("a", op1, 3), say("b", v, 1), say("b", op1, 2))
	mark := func(room string, by history.Member, seq int64) {
		if _, err := store.MarkRead(ctx, room, by, seq); err != nil {
			t.Fatal(err)
		}
	}
	mark("a", v, 2)
	mark("a", op1, 3)
	mark("b", v, 1)
	mark("b", ann, 2)
	if _, err := store.Merge(ctx, "v1", "ann", nil); err != nil {
		t.Fatal(err)
	}
	for room, want := range map[string]int64{"a": 2, "b": 2} {
		r := mustRoom(t, store, room, ann)
		if r.ReadSeq != want || r.UserReadSeq != want || r.Unread != int(r.Head-want) {
			t.Errorf("%s: %+v", room, r)
		}
		marks, err := store.Marks(ctx, room)
		if err != nil || slices.ContainsFunc(marks, func(m history.Mark) bool { return m.Member == v }) {
			t.Errorf("%s: marks %+v, %v", room, marks, err)
		}
	}
	if r := mustRoom(t, store, "a", op1); r.ReadSeq != 3 || r.OperatorsReadSeq != 3 {
		t.Errorf("an operator's mark: %+v", r)
	}
}
