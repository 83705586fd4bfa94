package historytest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/parley-go/parley/history"
)

// eraser is a store that can erase.
type eraser interface {
	history.Store
	history.Eraser
}

// personEraser is an eraser that knows users.
type personEraser interface {
	rooms
	history.Editor
	history.Reads
	history.Eraser
}

var eraseTests = []test[eraser]{
	{"EraseRoom", testEraseRoom},
	{"EraseElsewhere", testEraseElsewhere},
	{"EraseNothing", testEraseNothing},
}

var erasePersonTests = []test[personEraser]{
	{"ErasePerson", testErasePerson},
	{"EraseMarks", testEraseMarks},
}

func testEraseRoom(t *testing.T, store eraser) {
	ctx := context.Background()
	notes := history.NotesRoom("a")
	old := appendMany(t, store, "a", 1203)
	appendMany(t, store, notes, 2)
	appendMany(t, store, "b", 2)
	if e, err := store.Erasing(ctx, "", "a"); err != nil || e.Messages != 1205 || !slices.Equal(e.Rooms, []string{"a"}) {
		t.Errorf("would erase %+v, %v", e, err)
	}
	if e, err := store.EraseRoom(ctx, "a"); err != nil || e.Messages != 1205 || !slices.Equal(e.Rooms, []string{"a"}) || len(e.Changed) != 0 {
		t.Errorf("erased %+v, %v", e, err)
	}
	for _, room := range []string{"a", notes} {
		if s := mustHistory(t, store, room, history.Page{}); s.Head != 0 || len(s.Messages) > 0 {
			t.Errorf("left of %s: %+v", room, s)
		}
	}
	if heads, err := store.Heads(ctx, []string{"a", "b", notes}); err != nil || len(heads) != 1 || heads["b"] != 2 {
		t.Errorf("heads %v, %v", heads, err)
	}
	wantSeqs(t, "another room", mustHistory(t, store, "b", history.Page{}).Messages, 1, 2)

	// The room can be written again. A client that knew the old one misses nothing: its position is
	// not the one of another message now.
	again := mustAppend(t, store, draft("a", 1), draft("a", 2))
	wantSeqs(t, "again", again, 1204, 1205)
	for _, m := range old {
		if m.ID == again[0].ID || m.ID == again[1].ID {
			t.Errorf("id %s was given again", m.ID)
		}
	}
	s, err := store.Changes(ctx, "a", 7, history.Limit{})
	if !errors.Is(err, history.ErrPruned) {
		t.Errorf("from an old position: %+v, %v", s, err)
	}
	wantSeqs(t, "from the last old position", mustChanges(t, store, "a", 1203, 10).Messages, 1204, 1205)
	if s := mustHistory(t, store, "a", history.Page{}); s.MoreBefore || s.Floor != 1203 || s.Head != 1205 {
		t.Errorf("the newest page: %+v", s)
	}
	if m := mustAppend(t, store, draft("c", 1))[0]; m.Seq != 1 {
		t.Errorf("a new room begins with %d", m.Seq)
	}
	if _, err := store.EraseRoom(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	wantSeqs(t, "the third time", mustAppend(t, store, draft("a", 1)), 1206, 1206)
}

// In rooms of others, the messages of an erased user stay as tombstones that nobody wrote.
func testEraseElsewhere(t *testing.T, store eraser) {
	ctx := context.Background()
	mine := func(room string, n int) history.Draft {
		d := draft(room, n)
		d.UserID, d.ClientID = "bob", string(rune('a'+n))
		return d
	}
	mustAppend(t, store, draft("a", 1), mine("a", 2), draft("a", 3), mine("b", 4))
	d := mine("b", 5)
	d.OperatorID = "op"
	mustAppend(t, store, d)
	if e, err := store.Erasing(ctx, "bob", ""); err != nil || len(e.Changed) != 3 || e.Messages != 0 {
		t.Errorf("would erase %+v, %v", e, err)
	}
	wantSeqs(t, "before", mustChanges(t, store, "a", 0, 10).Messages, 1, 3)
	e, err := store.EraseUser(ctx, "bob")
	if err != nil || len(e.Changed) != 3 || len(e.Rooms) != 0 || e.Messages != 0 {
		t.Fatalf("erased %+v, %v", e, err)
	}
	for _, m := range e.Changed {
		if !m.Deleted || m.Message != nil || m.UserID == "bob" || m.UserID == "" || m.ClientID != "" || m.Rev <= m.Seq || m.EditedAt.IsZero() {
			t.Errorf("a tombstone: %+v", m)
		}
		s := mustHistory(t, store, m.RoomID, history.Page{Around: m.Seq, Limit: history.Limit{Messages: 1}})
		wantSame(t, "read again", s.Messages[0], m)
	}
	s := mustChanges(t, store, "a", 3, 10)
	if len(s.Messages) != 1 || s.Messages[0].Seq != 2 || s.Messages[0].Rev != 4 || s.Head != 4 {
		t.Errorf("changes of a room: %+v", s)
	}
	wantSeqs(t, "the next", mustAppend(t, store, draft("a", 6)), 5, 5)
	mustAppend(t, store, mine("a", 2)) // the client id is free again
	first := e.Changed[0].UserID
	if e, err = store.EraseUser(ctx, "bob"); err != nil || len(e.Changed) != 1 || e.Changed[0].UserID == first {
		t.Errorf("again erased %+v, %v", e, err)
	}
}

func testEraseNothing(t *testing.T, store eraser) {
	ctx := context.Background()
	appendMany(t, store, "a", 2)
	for what, erase := range map[string]func() (history.Erased, error){
		"room": func() (history.Erased, error) { return store.EraseRoom(ctx, "nobody's") },
		"user": func() (history.Erased, error) { return store.EraseUser(ctx, "nobody") },
		"what": func() (history.Erased, error) { return store.Erasing(ctx, "nobody", "nobody's") },
	} {
		if e, err := erase(); err != nil || len(e.Rooms)+len(e.Changed)+e.Messages != 0 {
			t.Errorf("%s: %+v, %v", what, e, err)
		}
	}
	if _, err := store.EraseRoom(ctx, ""); history.Code(err) != history.ErrBadRoom.Code {
		t.Errorf("a bad room: %v", err)
	}
	wantSeqs(t, "what there is", mustHistory(t, store, "a", history.Page{}).Messages, 1, 2)
}

func testErasePerson(t *testing.T, store personEraser) {
	ctx := context.Background()
	begin := func(room, user string) {
		d := draft(room, 1)
		d.UserID, d.Conversation = user, &history.Conversation{UserID: user, Name: "Name of " + user}
		mustAppend(t, store, d, draft(history.NotesRoom(room), 1))
	}
	begin("a", "ann")
	begin("v", "v_1")
	begin("b", "bob")
	free := draft("free", 1) // where it has no conversation
	free.UserID = "v_2"
	mustAppend(t, store, free)
	for _, visitor := range []string{"v_1", "v_2"} {
		if _, err := store.Merge(ctx, visitor, "ann", func(string) *history.Draft { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	seen, err := store.ChangedRooms(ctx, 0, 10, history.Member{})
	if err != nil {
		t.Fatal(err)
	}
	would, err := store.Erasing(ctx, "ann", "v") // a room that is named, too, counts once
	slices.Sort(would.Rooms)
	if err != nil || !slices.Equal(would.Rooms, []string{"a", "v"}) || would.Messages != 4 || len(would.Changed) != 2 {
		t.Errorf("would erase %+v, %v", would, err)
	}
	e, err := store.EraseUser(ctx, "ann")
	slices.Sort(e.Rooms)
	if err != nil || !slices.Equal(e.Rooms, []string{"a", "v"}) || e.Messages != 4 || len(e.Changed) != 2 {
		t.Errorf("erased %+v, %v", e, err) // the tombstones are what ann wrote into the notes of bob, and v_2 into a free room
	}
	for _, room := range []string{"a", "v"} {
		if r, err := store.Room(ctx, room, history.Member{}); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("%s: %+v, %v", room, r, err)
		}
	}
	for _, id := range []string{"ann", "v_1"} {
		if p, err := store.Person(ctx, id); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("%s: %+v, %v", id, p, err)
		}
	}
	if p, err := store.Person(ctx, "bob"); err != nil || p.Name != "Name of bob" {
		t.Errorf("bob: %+v, %v", p, err)
	}
	list, err := store.ListRooms(ctx, history.RoomQuery{})
	if err != nil || len(list.Rooms) != 1 || list.Rooms[0].RoomID != "b" {
		t.Errorf("the list: %+v, %v", list, err)
	}

	// Whoever follows the changes of conversations must load them anew, also with the newest position.
	for _, after := range []int64{0, seen.Head} {
		if changed, err := store.ChangedRooms(ctx, after, 10, history.Member{}); !errors.Is(err, history.ErrPruned) {
			t.Errorf("changed rooms after %d: %+v, %v", after, changed, err)
		}
	}
	changed, err := store.ChangedRooms(ctx, list.Head, 10, history.Member{})
	if err != nil || list.Head <= seen.Head {
		t.Errorf("from the new head, %d: %+v, %v", list.Head, changed, err)
	}
	begin("c", "cid")
	if changed, err = store.ChangedRooms(ctx, list.Head, 10, history.Member{}); err != nil || len(changed.Rooms) != 1 || changed.Rooms[0].Change <= list.Head {
		t.Errorf("a new conversation: %+v, %v", changed, err)
	}
}

func testEraseMarks(t *testing.T, store personEraser) {
	ctx := context.Background()
	appendMany(t, store, "a", 3)
	for _, member := range []history.Member{{UserID: "bob"}, {UserID: "cid"}, {OperatorID: "bob"}} {
		if _, err := store.MarkRead(ctx, "a", member, 2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.EraseUser(ctx, "bob"); err != nil {
		t.Fatal(err)
	}
	marks, err := store.Marks(ctx, "a")
	if err != nil || len(marks) != 2 || slices.ContainsFunc(marks, func(m history.Mark) bool { return m.Member.UserID == "bob" }) {
		t.Errorf("marks %+v, %v", marks, err)
	}
}
