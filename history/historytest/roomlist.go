package historytest

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/parley-go/parley/history"
)

// listAll returns the ids of all pages of a list.
func listAll(t interface {
	Helper()
	Fatalf(string, ...any)
}, store rooms, q history.RoomQuery) (ids []string) {
	t.Helper()
	for {
		list, err := store.ListRooms(context.Background(), q)
		if err != nil {
			t.Fatalf("list %+v: %v", q, err)
		}
		for _, r := range list.Rooms {
			if slices.Contains(ids, r.RoomID) {
				t.Fatalf("list %+v: %s twice", q, r.RoomID)
			}
			ids = append(ids, r.RoomID)
		}
		if q.Limit > 0 && len(list.Rooms) > q.Limit {
			t.Fatalf("list %+v: %d rooms", q, len(list.Rooms))
		}
		if q.Cursor = list.Next; q.Cursor == "" {
			return ids
		}
	}
}

func testListRooms(t *testing.T, store rooms) {
	// Created in the order of their names. The last letters of a batch have equal times.
	mustAppend(t, store, say("a", ann, 1), draft("free", 1), say("b", bob, 1), say("c", ann, 1))
	mustAppend(t, store, say("d", ann, 1), say("e", bob, 1))
	mustAppend(t, store, draft(history.NotesRoom("a"), 1), say("f", ann, 1))
	for room, u := range map[string]history.RoomUpdate{
		"a": {OperatorID: pointer("op1"), AddLabels: []string{"vip", `"x",`}},
		"b": {OperatorID: pointer("op2"), AddLabels: []string{"vip"}},
		"c": {Status: pointer(history.Closed), OperatorID: pointer("op1")},
		"d": {AddLabels: []string{"vip2", ","}},
		"e": {Answered: true},
	} {
		u.RoomID = room
		mustUpdate(t, store, u)
	}
	mustAppend(t, store, say("b", bob, 2))
	mustAppend(t, store, say("a", op1, 2))
	// a: open, op1, answered · b: open, op2, waits · c: closed, op1 · d: open, waits · e: open, answered · f: open, waits
	toOp1, notOp1 := history.Assignee{Kind: history.AssignedTo, OperatorID: "op1"}, history.Assignee{Kind: history.AssignedToOthers, OperatorID: "op1"}
	nobodysRoom := history.Assignee{Kind: history.NoAssignee}
	for _, test := range []struct {
		q    history.RoomQuery
		want string
	}{
		{history.RoomQuery{Sort: history.ByCreated}, "fedcba"},
		{history.RoomQuery{Sort: history.ByCreated, Status: history.Open}, "fedba"},
		{history.RoomQuery{Sort: history.ByCreated, Status: history.Closed}, "c"},
		{history.RoomQuery{Sort: history.ByCreated, UserID: "ann"}, "fdca"},
		{history.RoomQuery{Sort: history.ByCreated, UserID: "ann", Status: history.Open}, "fda"},
		{history.RoomQuery{Sort: history.ByCreated, Assignee: toOp1}, "ca"},
		{history.RoomQuery{Sort: history.ByCreated, Assignee: notOp1}, "b"},
		{history.RoomQuery{Sort: history.ByCreated, Assignee: nobodysRoom}, "fed"},
		{history.RoomQuery{Sort: history.ByCreated, Waiting: true}, "fdb"},
		{history.RoomQuery{Sort: history.ByCreated, Label: "vip"}, "ba"},
		{history.RoomQuery{Sort: history.ByCreated, Label: ","}, "d"},
		{history.RoomQuery{Sort: history.ByCreated, Label: `"x",`}, "a"},
		{history.RoomQuery{Sort: history.ByCreated, Label: "%"}, ""},
		{history.RoomQuery{Sort: history.ByCreated, UserID: "nobody"}, ""},

		{history.RoomQuery{}, "abfedc"},
		{history.RoomQuery{Sort: history.ByActivity}, "abfedc"},
		{history.RoomQuery{Status: history.Open}, "abfed"},
		{history.RoomQuery{Status: history.Closed}, "c"},
		{history.RoomQuery{UserID: "ann"}, "afdc"},
		{history.RoomQuery{UserID: "bob"}, "be"},
		{history.RoomQuery{UserID: "bob", Waiting: true}, "b"},
		{history.RoomQuery{Assignee: toOp1}, "ac"},
		{history.RoomQuery{Assignee: toOp1, Status: history.Open}, "a"},
		{history.RoomQuery{Assignee: toOp1, Status: history.Closed}, "c"},
		{history.RoomQuery{Assignee: notOp1, Status: history.Open}, "b"},
		{history.RoomQuery{Assignee: nobodysRoom, Status: history.Open}, "fed"},
		{history.RoomQuery{Waiting: true}, "bfd"},
		{history.RoomQuery{Waiting: true, Assignee: nobodysRoom}, "fd"},
		{history.RoomQuery{Label: "vip"}, "ab"},
		{history.RoomQuery{Label: "vip", Waiting: true}, "b"},
		{history.RoomQuery{Label: "vip", UserID: "ann", Assignee: toOp1, Status: history.Open}, "a"},
		{history.RoomQuery{Unread: true}, ""}, // for nobody

		{history.RoomQuery{Sort: history.ByWaiting}, "bdfaec"},
		{history.RoomQuery{Sort: history.ByWaiting, Status: history.Open}, "bdfae"},
		{history.RoomQuery{Sort: history.ByWaiting, Status: history.Closed}, "c"},
		{history.RoomQuery{Sort: history.ByWaiting, Waiting: true}, "bdf"},
		{history.RoomQuery{Sort: history.ByWaiting, Waiting: true, Status: history.Closed}, ""},
		{history.RoomQuery{Sort: history.ByWaiting, Assignee: nobodysRoom}, "dfe"},
		{history.RoomQuery{Sort: history.ByWaiting, Assignee: nobodysRoom, Waiting: true, Status: history.Open}, "df"},
		{history.RoomQuery{Sort: history.ByWaiting, Assignee: toOp1}, "ac"},
		{history.RoomQuery{Sort: history.ByWaiting, Assignee: notOp1}, "b"},
		{history.RoomQuery{Sort: history.ByWaiting, UserID: "ann"}, "dfac"},
		{history.RoomQuery{Sort: history.ByWaiting, UserID: "ann", Waiting: true}, "df"},
		{history.RoomQuery{Sort: history.ByWaiting, Label: "vip"}, "ba"},
	} {
		want := splitLetters(test.want)
		// Times of different commits may be equal: then the order of creation decides.
		want = inStoreOrder(t, store, test.q, want)
		for _, limit := range []int{0, 1, 2, 3, 6} {
			test.q.Limit = limit
			if got := listAll(t, store, test.q); !slices.Equal(got, want) {
				t.Errorf("%+v: %v, want %v", test.q, got, want)
			}
		}
	}
	list, err := store.ListRooms(context.Background(), history.RoomQuery{Limit: 1})
	if err != nil || list.Head != mustRoom(t, store, "a", nobodyAsks).Change {
		t.Errorf("head %d, %v", list.Head, err)
	}
	wantRoom(t, "in the list", list.Rooms[0], mustRoom(t, store, list.Rooms[0].RoomID, nobodyAsks))
}

func splitLetters(text string) (letters []string) {
	for _, l := range text {
		letters = append(letters, string(l))
	}
	return letters
}

// inStoreOrder sorts the rooms that a list has by what the store says of them. The rooms are created
// in the order of their names.
func inStoreOrder(t testing.TB, store rooms, q history.RoomQuery, ids []string) []string {
	var list []history.Room
	for _, id := range ids {
		r, err := store.Room(context.Background(), id, nobodyAsks)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b history.Room) int { return compareRooms(q.Sort, a, b, a.RoomID > b.RoomID) })
	ids = nil
	for _, r := range list {
		ids = append(ids, r.RoomID)
	}
	return ids
}

// compareRooms is the order of a list. later says that a was created after b.
func compareRooms(sort history.RoomSort, a, b history.Room, later bool) int {
	created := 1
	if later {
		created = -1
	}
	aWaits, bWaits := sort == history.ByWaiting && !a.WaitingSince.IsZero(), sort == history.ByWaiting && !b.WaitingSince.IsZero()
	switch {
	case sort == history.ByCreated:
		return created
	case aWaits && bWaits:
		return cmp.Or(a.WaitingSince.Compare(b.WaitingSince.Time), -created)
	case aWaits:
		return -1
	case bWaits:
		return 1
	}
	return cmp.Or(b.LastAt.Compare(a.LastAt.Time), created)
}

func testListCursors(t *testing.T, store rooms) {
	ctx := context.Background()
	for n := range 7 {
		mustAppend(t, store, say(fmt.Sprint("r", n), ann, n))
	}
	q := history.RoomQuery{Status: history.Open, Limit: 2, By: op1}
	first, err := store.ListRooms(ctx, q)
	if err != nil || first.Next == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	// A cursor continues where its page ended, whatever moves; with another limit, too.
	q.Cursor, q.Limit = first.Next, 500
	mustAppend(t, store, say("r6", ann, 8), say("new", ann, 8))
	rest, err := store.ListRooms(ctx, q)
	if err != nil || len(rest.Rooms) != 5 || rest.Next != "" || rest.Head != first.Head+2 {
		t.Errorf("%+v, %v", rest, err)
	}
	for why, change := range map[string]func(*history.RoomQuery){
		"status":   func(q *history.RoomQuery) { q.Status = "" },
		"assignee": func(q *history.RoomQuery) { q.Assignee.Kind = history.NoAssignee },
		"operator": func(q *history.RoomQuery) {
			q.Assignee = history.Assignee{Kind: history.AssignedTo, OperatorID: "op1"}
		},
		"waiting":    func(q *history.RoomQuery) { q.Waiting = true },
		"unread":     func(q *history.RoomQuery) { q.Unread = true },
		"label":      func(q *history.RoomQuery) { q.Label = "vip" },
		"user":       func(q *history.RoomQuery) { q.UserID = "ann" },
		"sort":       func(q *history.RoomQuery) { q.Sort = history.ByCreated },
		"who asks":   func(q *history.RoomQuery) { q.By = op2 },
		"garbage":    func(q *history.RoomQuery) { q.Cursor = "garbage" },
		"no version": func(q *history.RoomQuery) { q.Cursor = base64.RawURLEncoding.EncodeToString([]byte(`{}`)) },
		"no JSON":    func(q *history.RoomQuery) { q.Cursor = base64.RawURLEncoding.EncodeToString([]byte(`{`)) },
		"cut":        func(q *history.RoomQuery) { q.Cursor = q.Cursor[:len(q.Cursor)-4] },
	} {
		other := q
		change(&other)
		if _, err := store.ListRooms(ctx, other); !errors.Is(err, history.ErrBadPage) {
			t.Errorf("the cursor of another query (%s): error %v", why, err)
		}
	}
	for _, bad := range []history.RoomQuery{
		{Status: "snoozed"}, {Sort: "name"}, {Assignee: history.Assignee{Kind: history.AssignedTo}}, {Assignee: history.Assignee{Kind: 9}},
		{Assignee: history.Assignee{Kind: history.NoAssignee, OperatorID: "op1"}}, {Assignee: history.Assignee{Kind: -1}},
	} {
		if _, err := store.ListRooms(ctx, bad); !errors.Is(err, history.ErrBadPage) {
			t.Errorf("%+v: error %v", bad, err)
		}
	}
}

func testCountRooms(t *testing.T, store rooms) {
	mustAppend(t, store, say("a", ann, 1), say("b", ann, 1), say("c", bob, 1), say("d", bob, 1), draft("free", 1))
	mustUpdate(t, store, history.RoomUpdate{RoomID: "a", OperatorID: pointer("op1")})
	mustUpdate(t, store, history.RoomUpdate{RoomID: "b", OperatorID: pointer("op2"), Answered: true})
	mustUpdate(t, store, history.RoomUpdate{RoomID: "d", OperatorID: pointer("op1"), Status: pointer(history.Closed)})
	for by, want := range map[history.Member]history.RoomCounts{
		op1:                {Open: 3, Waiting: 2, Unassigned: 1, Mine: 1},
		op2:                {Open: 3, Waiting: 2, Unassigned: 1, Mine: 1},
		{OperatorID: "no"}: {Open: 3, Waiting: 2, Unassigned: 1},
		nobodyAsks:         {Open: 3, Waiting: 2, Unassigned: 1},
		ann:                {Open: 2, Waiting: 1},
		bob:                {Open: 1, Waiting: 1, Unassigned: 1},
	} {
		if got, err := store.CountRooms(context.Background(), by); err != nil || got != want {
			t.Errorf("for %+v: %+v, %v; want %+v", by, got, err, want)
		}
	}
	var drafts []history.Draft
	for n := range history.MaxCount {
		drafts = append(drafts, say(fmt.Sprint("r", n), ann, n))
	}
	mustAppend(t, store, drafts...)
	want := history.RoomCounts{Open: history.MaxCount, Waiting: history.MaxCount, Unassigned: history.MaxCount, Mine: 1}
	if got, err := store.CountRooms(context.Background(), op1); err != nil || got != want {
		t.Errorf("of many: %+v, %v", got, err)
	}
}
