package historytest

import (
	"context"
	"slices"
	"testing"

	"github.com/parley-go/parley/history"
)

// testRoomView: what rows say about messages and marks.
func testRoomView(t *testing.T, store markedRooms) {
	ctx := context.Background()
	m := mustAppend(t, store, say("a", ann, 1), say("a", ann, 2), say("a", op1, 3), say("a", op2, 4), say("a", ann, 5))
	mark := func(by history.Member, seq int64) {
		t.Helper()
		marked, err := store.MarkRead(ctx, "a", by, seq)
		if err != nil {
			t.Fatal(err)
		}
		if r := mustRoom(t, store, "a", by); r.ReadSeq != marked.Seq || r.Unread != marked.Unread {
			t.Errorf("marked by %+v: %+v, and the room says %+v", by, marked, r)
		}
	}
	view := func(what string, by history.Member, read int64, unread int, operators, user int64) {
		t.Helper()
		want := mustRoom(t, store, "a", nobodyAsks)
		want.ReadSeq, want.Unread, want.OperatorsReadSeq, want.UserReadSeq = read, unread, operators, user
		got := mustRoom(t, store, "a", by)
		wantRoom(t, what, got, want)
		for _, q := range []history.RoomQuery{{By: by}, {By: by, Sort: history.ByWaiting}} {
			list, err := store.ListRooms(ctx, q)
			if err != nil || len(list.Rooms) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			wantRoom(t, what+", in a list", list.Rooms[0], got)
		}
		changed, err := store.ChangedRooms(ctx, 0, 0, by)
		if err != nil || len(changed.Rooms) != 1 {
			t.Fatalf("%+v, %v", changed, err)
		}
		wantRoom(t, what+", among changes", changed.Rooms[0], got)
	}
	// Colleagues' messages are not unread, one's own neither.
	view("nothing is read, an operator", op1, 0, 3, 0, 0)
	view("nothing is read, another operator", history.Member{OperatorID: "op3"}, 0, 3, 0, 0)
	view("nothing is read, the user", ann, 0, 2, 0, 0)
	view("nobody asks", nobodyAsks, 0, 0, 0, 0)
	mark(op1, 2)
	mark(op2, 1)
	mark(ann, 3)
	view("an operator", op1, 2, 1, 2, 3)
	view("another operator", op2, 1, 2, 2, 3)
	view("the user", ann, 3, 1, 2, 3)
	view("nobody asks", nobodyAsks, 0, 0, 2, 3)

	// Marks are no changes of the conversation, edits are.
	if r := mustRoom(t, store, "a", nobodyAsks); r.Change != 5 || r.Last == nil || r.Last.Seq != 5 {
		t.Errorf("%+v", r)
	}
	edited := mustEdit(t, store, edit("a", 5, 6))
	r := mustRoom(t, store, "a", nobodyAsks)
	if r.Change != 6 || r.Head != 6 || r.Last == nil || r.LastAt != m[4].Timestamp {
		t.Fatalf("%+v", r)
	}
	wantSame(t, "the last message", *r.Last, edited)
	mustEdit(t, store, edit("a", 5, -1))
	mustEdit(t, store, edit("a", 4, -1))
	if r := mustRoom(t, store, "a", op1); r.Change != 8 || r.Last == nil || r.Last.Seq != 3 || r.Unread != 0 {
		t.Errorf("after deletions: %+v", r)
	}
	for seq := range int64(3) {
		mustEdit(t, store, edit("a", seq+1, -1))
	}
	if r := mustRoom(t, store, "a", op1); r.Last != nil || r.Head != 11 || r.WaitingSince.IsZero() {
		t.Errorf("nothing is left: %+v", r)
	}
	// In a room that belongs to nobody, all others are others.
	mustAppend(t, store, draft("free", 1), draft("free", 2))
	if r := mustRoom(t, store, "free", bob); r.Unread != 2 {
		t.Errorf("a free room: %+v", r)
	}
	if r := mustRoom(t, store, "free", ann); r.Unread != 0 {
		t.Errorf("a free room, for its author: %+v", r)
	}
}

func testUnreadRooms(t *testing.T, store markedRooms) {
	ctx := context.Background()
	mustAppend(t, store, say("a", ann, 1), say("b", ann, 1), say("c", bob, 1), say("d", op1, 1))
	var many []history.Draft
	for n := range history.MaxUnread + 5 {
		many = append(many, say("c", bob, n))
	}
	mustAppend(t, store, many...)
	mustAppend(t, store, say("b", op2, 1))
	for room, seq := range map[string]int64{"a": 1, "b": 2, "c": 1} {
		if _, err := store.MarkRead(ctx, room, op1, seq); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		by   history.Member
		want []string
	}{
		{op1, []string{"c"}}, {op2, []string{"c", "b", "a"}}, {ann, []string{"b"}}, {bob, []string{"b"}}, {nobodyAsks, nil},
	} {
		for _, limit := range []int{0, 1} {
			q := history.RoomQuery{By: test.by, Unread: true, Sort: history.ByCreated, Limit: limit}
			if got := listAll(t, store, q); !slices.Equal(got, test.want) {
				t.Errorf("unread for %+v: %v, want %v", test.by, got, test.want)
			}
		}
	}
	if r := mustRoom(t, store, "c", op1); r.Unread != history.MaxUnread {
		t.Errorf("%d unread, want the maximum", r.Unread)
	}
	// What is further back than UnreadSpan does not count.
	mustAppend(t, store, say("a", ann, 2)) // number 2
	own := make([]history.Draft, history.UnreadSpan-1)
	for n := range own {
		own[n] = say("a", op2, n)
	}
	mustAppend(t, store, own...)
	for _, want := range []int{1, 0} {
		listed := slices.Contains(listAll(t, store, history.RoomQuery{By: op1, Unread: true, Sort: history.ByCreated}), "a")
		m, err := store.MarkRead(ctx, "a", op1, 0)
		if r := mustRoom(t, store, "a", op1); err != nil || r.Unread != want || m.Unread != want || listed != (want > 0) {
			t.Errorf("of %d messages, %d are unread and %d counted, want %d; listed: %v, %v", r.Head, r.Unread, m.Unread, want, listed, err)
		}
		mustAppend(t, store, say("a", op2, 0))
	}
}

// followedRooms is a store of conversations whose changes can be followed.
type followedRooms interface {
	rooms
	history.Changelog
}

var followedRoomTests = []test[followedRooms]{{"FollowRooms", testFollowRooms}}

// testFollowRooms: what changes a conversation beside its messages is in the changelog.
func testFollowRooms(t *testing.T, store followedRooms) {
	ctx := context.Background()
	p := mustFollow(t, store, "f")
	var want []history.Change
	expect := func(kind history.ChangeKind, room string, number, seq int64) {
		want = append(want, history.Change{Kind: kind, RoomID: room, Number: number, Seq: seq})
	}
	if _, err := store.CreateRoom(ctx, "a", history.Conversation{UserID: "v1"}); err != nil {
		t.Fatal(err)
	}
	expect(history.RoomChanged, "a", 1, 0)
	mustAppend(t, store, say("a", op1, 1))
	expect(history.MessageAdded, "a", 1, 1)
	mustUpdate(t, store, history.RoomUpdate{RoomID: "a", Subject: pointer("s")})
	expect(history.RoomChanged, "a", 3, 0)
	if _, err := store.UpdateRoom(ctx, history.RoomUpdate{RoomID: "a", Subject: pointer("s")}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.UpdateRoom(ctx, history.RoomUpdate{RoomID: "a", Subject: pointer("t"), IfChange: 1}); err == nil {
		t.Fatal("no conflict")
	}
	mustPut(t, store, history.Person{UserID: "v1", Name: "V"})
	expect(history.RoomChanged, "a", 4, 0)
	if _, err := store.Merge(ctx, "v1", "ann", nil); err != nil {
		t.Fatal(err)
	}
	expect(history.RoomChanged, "a", 5, 0)
	got := mustReadChanges(t, store, p, 10)
	for i := range got {
		got[i].Position = 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
