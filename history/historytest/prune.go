package historytest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// pruner is a store that can forget.
type pruner interface {
	history.Store
	history.Pruner
}

var pruneTests = []test[pruner]{
	{"PruneNumber", testPruneNumber},
	{"PruneAge", testPruneAge},
	{"PruneRooms", testPruneRooms},
	{"PruneNotes", testPruneNotes},
	{"PruneNothing", testPruneNothing},
}

// prunedRooms is a pruner that keeps conversations.
type prunedRooms interface {
	pruner
	history.Rooms
}

var prunedRoomTests = []test[prunedRooms]{
	{"PruneClosed", testPruneClosed},
}

// prune applies a rule until nothing is left to prune. It returns how many messages are gone.
func prune(t *testing.T, store history.Pruner, rule history.PruneRule) (messages int, rooms []string) {
	t.Helper()
	for {
		p, err := store.Prune(context.Background(), rule)
		if err != nil {
			t.Fatalf("prune %+v: %v", rule, err)
		}
		if p.Messages > 2000 {
			t.Errorf("%d messages in one step", p.Messages)
		}
		messages += p.Messages
		rooms = append(rooms, p.Rooms...)
		if !p.More {
			slices.Sort(rooms)
			return messages, slices.Compact(rooms)
		}
	}
}

func appendMany(t *testing.T, store history.Store, room string, n int) []history.Message {
	t.Helper()
	drafts := make([]history.Draft, n)
	for i := range drafts {
		drafts[i] = draft(room, i)
	}
	return mustAppend(t, store, drafts...)
}

// nextMilli waits until messages get a later time than m.
func nextMilli(m history.Message) {
	for !time.Now().After(m.Timestamp.Add(2 * time.Millisecond)) {
		time.Sleep(time.Millisecond)
	}
}

func testPruneNumber(t *testing.T, store pruner) {
	appendMany(t, store, "a", 2510)
	appendMany(t, store, "b", 10)
	if n, rooms := prune(t, store, history.PruneRule{Keep: 10}); n != 2500 || !slices.Equal(rooms, []string{"a"}) {
		t.Errorf("%d messages of %q are gone", n, rooms)
	}
	s := mustHistory(t, store, "a", history.Page{})
	wantSeqs(t, "what stays", s.Messages, 2501, 2510)
	if s.Head != 2510 || s.Floor != 2500 || s.MoreBefore {
		t.Errorf("head %d, floor %d, more before: %v", s.Head, s.Floor, s.MoreBefore)
	}
	wantSeqs(t, "from the very first", mustHistory(t, store, "a", history.Page{After: -1}).Messages, 2501, 2510)
	wantSeqs(t, "before", mustHistory(t, store, "a", history.Page{Before: 2400}).Messages, 1, 0)
	for since, want := range map[int64]error{0: history.ErrPruned, 2499: history.ErrPruned, 2500: nil, 2510: nil} {
		s, err := store.Changes(context.Background(), "a", since, history.Limit{})
		if history.Code(err) != history.Code(want) || s.Head != 2510 || s.Floor != 2500 {
			t.Errorf("changes since %d: head %d, floor %d, %v", since, s.Head, s.Floor, err)
		}
	}
	wantSeqs(t, "changes", mustChanges(t, store, "a", 2500, 100).Messages, 2501, 2510)
	wantSeqs(t, "the other room", mustHistory(t, store, "b", history.Page{}).Messages, 1, 10)
	wantSeqs(t, "the next", mustAppend(t, store, draft("a", 1)), 2511, 2511)
	if n, _ := prune(t, store, history.PruneRule{Room: "b", Keep: 4}); n != 6 {
		t.Errorf("%d messages of one room are gone", n)
	}
}

func testPruneAge(t *testing.T, store pruner) {
	appendMany(t, store, "a", 5)
	nextMilli(appendMany(t, store, "b", 3)[2])
	first := appendMany(t, store, "a", 2)[0]
	if n, rooms := prune(t, store, history.PruneRule{Before: first.Timestamp.Time}); n != 8 || !slices.Equal(rooms, []string{"a", "b"}) {
		t.Errorf("%d messages of %q are gone", n, rooms)
	}
	wantSeqs(t, "what stays", mustHistory(t, store, "a", history.Page{}).Messages, 6, 7)
	s := mustHistory(t, store, "b", history.Page{})
	if len(s.Messages) != 0 || s.Head != 3 || s.Floor != 3 {
		t.Errorf("of a room that is empty now: %+v", s)
	}
	if heads, err := store.Heads(context.Background(), []string{"b"}); err != nil || heads["b"] != 3 {
		t.Errorf("heads %v, %v", heads, err)
	}
	wantSeqs(t, "its numbers go on", mustAppend(t, store, draft("b", 1)), 4, 4)

	// The client id of a message that is gone is free again.
	d := draft("c", 1)
	d.ClientID = "again"
	m := mustAppend(t, store, d)[0]
	nextMilli(m)
	prune(t, store, history.PruneRule{Room: "c", Before: time.Now()})
	wantSeqs(t, "with the same client id", mustAppend(t, store, d), 2, 2)
}

// A rule over many rooms comes to all of them.
func testPruneRooms(t *testing.T, store pruner) {
	var drafts []history.Draft
	for room := range 600 {
		for n := range 2 {
			drafts = append(drafts, draft(fmt.Sprint("r", room), n))
		}
	}
	mustAppend(t, store, drafts...)
	for range 2 {
		if n, rooms := prune(t, store, history.PruneRule{Keep: 1}); n != 600 || len(rooms) != 600 {
			t.Errorf("%d messages of %d rooms are gone", n, len(rooms))
		}
		mustAppend(t, store, drafts[:600]...)
		mustAppend(t, store, drafts[600:]...)
		prune(t, store, history.PruneRule{Keep: 2})
	}
}

func testPruneNotes(t *testing.T, store pruner) {
	notes := history.NotesRoom("a")
	nextMilli(mustAppend(t, store, draft("a", 1), draft(notes, 1))[1])
	middle := mustAppend(t, store, draft("a", 2), draft(notes, 2))[0]
	nextMilli(middle)
	mustAppend(t, store, draft("a", 3), draft(notes, 3))
	if n, _ := prune(t, store, history.PruneRule{Keep: 2}); n != 2 {
		t.Errorf("by number, %d messages are gone", n)
	}
	wantSeqs(t, "notes", mustHistory(t, store, notes, history.Page{}).Messages, 2, 3)
	if n, _ := prune(t, store, history.PruneRule{Room: "a", Before: middle.Timestamp.Add(time.Millisecond)}); n != 2 {
		t.Errorf("by age, %d messages are gone", n)
	}
	wantSeqs(t, "notes", mustHistory(t, store, notes, history.Page{}).Messages, 3, 3)
}

func testPruneNothing(t *testing.T, store pruner) {
	appendMany(t, store, "a", 3)
	for _, rule := range []history.PruneRule{{}, {Room: "a"}, {Keep: 3}, {Before: time.Now().Add(-time.Hour)}, {Room: "nobody's", Keep: 1}} {
		if n, rooms := prune(t, store, rule); n != 0 || len(rooms) != 0 {
			t.Errorf("%+v: %d messages of %q are gone", rule, n, rooms)
		}
	}
	if _, err := store.Prune(context.Background(), history.PruneRule{Room: "\n", Keep: 1}); history.Code(err) != history.ErrBadRoom.Code {
		t.Errorf("of a bad room: %v", err)
	}
}

func testPruneClosed(t *testing.T, store prunedRooms) {
	for _, room := range []string{"open", "closed"} {
		d := draft(room, 1)
		d.Conversation = &history.Conversation{UserID: "ann"}
		mustAppend(t, store, d, draft(room, 2), draft(room, 3), draft(history.NotesRoom(room), 1))
	}
	appendMany(t, store, "free", 3)
	closed := history.Closed
	if _, err := store.UpdateRoom(context.Background(), history.RoomUpdate{RoomID: "closed", Status: &closed}); err != nil {
		t.Fatal(err)
	}
	if n, rooms := prune(t, store, history.PruneRule{Keep: 1, Closed: true}); n != 4 || !slices.Equal(rooms, []string{"closed", "free"}) {
		t.Errorf("%d messages of %q are gone", n, rooms)
	}
	last := json.RawMessage(`"x"`)
	if _, err := store.Append(context.Background(), []history.Draft{{RoomID: "closed", UserID: "ann", Message: last}}); err != nil { // reopens it
		t.Fatal(err)
	}
	if n, _ := prune(t, store, history.PruneRule{Keep: 1, Closed: true}); n != 0 {
		t.Errorf("after it was reopened, %d messages are gone", n)
	}
}
