package historytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley/history"
)

func testUpdateRoom(t *testing.T, store rooms) {
	mustAppend(t, store, say("a", ann, 1))
	want := mustRoom(t, store, "a", nobodyAsks)
	for _, step := range []struct {
		update history.RoomUpdate
		change func(*history.Room)
	}{
		{history.RoomUpdate{Subject: pointer("s")}, func(r *history.Room) { r.Subject = "s" }},
		{history.RoomUpdate{OperatorID: pointer("op1")}, func(r *history.Room) { r.OperatorID = "op1" }},
		{history.RoomUpdate{OperatorID: pointer("")}, func(r *history.Room) { r.OperatorID = "" }},
		{history.RoomUpdate{AddLabels: []string{"b", "a", "b"}}, func(r *history.Room) { r.Labels = []string{"a", "b"} }},
		{history.RoomUpdate{AddLabels: []string{"c", "d"}, RemoveLabels: []string{"a", "d", "x"}}, func(r *history.Room) { r.Labels = []string{"b", "c"} }},
		{history.RoomUpdate{Attributes: json.RawMessage(`{"a":{"b":1},"n":2}`)}, func(r *history.Room) { r.Attributes = json.RawMessage(`{"a":{"b":1},"n":2}`) }},
		{history.RoomUpdate{Attributes: json.RawMessage(`{"a":{"c":[1]},"n":null}`)}, func(r *history.Room) { r.Attributes = json.RawMessage(`{"a":{"b":1,"c":[1]}}`) }},
		{history.RoomUpdate{Attributes: json.RawMessage(`{"a":null}`)}, func(r *history.Room) { r.Attributes = nil }},
		{history.RoomUpdate{UserID: pointer("bob")}, func(r *history.Room) {
			r.UserID, r.User = "bob", nil // nothing is known about bob
		}},
		{history.RoomUpdate{Answered: true, Subject: pointer(""), RemoveLabels: []string{"b", "c"}}, func(r *history.Room) {
			r.WaitingSince, r.Subject, r.Labels = history.Time{}, "", nil
		}},
	} {
		step.update.RoomID = "a"
		got := mustUpdate(t, store, step.update)
		step.change(&want)
		want.Change++
		wantRoom(t, fmt.Sprintf("%+v", step.update), got.Room, want)
		// The message that follows knows the room as it is.
		m := mustAppend(t, store, say("a", op1, 1))[0]
		if m.UserID != want.UserID {
			t.Errorf("an operator's message after %+v: %+v", step.update, m)
		}
		want.Head, want.Last, want.LastAt, want.WaitingSince = m.Seq, &m, m.Timestamp, history.Time{}
		want.Change++
	}
	if got := listAll(t, store, history.RoomQuery{UserID: "bob"}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("conversations of the new owner: %v", got)
	}
	if got := listAll(t, store, history.RoomQuery{UserID: "ann"}); len(got) != 0 {
		t.Errorf("conversations of the old owner: %v", got)
	}
}

func testUpdateConditions(t *testing.T, store rooms) {
	ctx := context.Background()
	mustAppend(t, store, say("a", ann, 1))
	mustUpdate(t, store, history.RoomUpdate{RoomID: "a", OperatorID: pointer("op1")})
	now := mustRoom(t, store, "a", nobodyAsks).Change
	for _, test := range []struct {
		holds bool
		u     history.RoomUpdate
	}{
		{false, history.RoomUpdate{IfOperator: pointer("")}},
		{false, history.RoomUpdate{IfOperator: pointer("op2")}},
		{false, history.RoomUpdate{IfStatus: history.Closed}},
		{false, history.RoomUpdate{IfChange: now - 1}},
		{false, history.RoomUpdate{IfChange: now + 1}},
		{false, history.RoomUpdate{IfOperator: pointer("op1"), IfStatus: history.Closed}},
		{true, history.RoomUpdate{IfOperator: pointer("op1"), IfStatus: history.Open, IfChange: now}},
	} {
		u := test.u
		u.RoomID, u.OperatorID = "a", pointer("op3")
		u.Note = pointer(draft(history.NotesRoom("a"), 1))
		was := mustRoom(t, store, "a", nobodyAsks)
		if test.holds {
			mustUpdate(t, store, u)
			continue
		}
		_, err := store.UpdateRoom(ctx, u)
		wantRoomConflict(t, fmt.Sprintf("%+v", test.u), store, "a", err)
		wantRoom(t, "after a conflict", mustRoom(t, store, "a", nobodyAsks), was)
		if s := mustHistory(t, store, history.NotesRoom("a"), history.Page{}); s.Head != 0 {
			t.Errorf("%+v: a note of what did not happen", test.u)
		}
		// What already is so can be repeated, whatever the conditions say.
		u.OperatorID = pointer("op1")
		if updated, err := store.UpdateRoom(ctx, u); err != nil || updated.Changed || updated.Note != nil {
			t.Errorf("%+v repeated: %+v, %v", test.u, updated, err)
		}
	}
}

func testUpdateNote(t *testing.T, store rooms) {
	ctx := context.Background()
	mustAppend(t, store, say("a", ann, 1))
	notes := history.NotesRoom("a")
	note := history.Draft{RoomID: notes, OperatorID: "op1", ClientID: "n1", Message: json.RawMessage(`{"event":"closed"}`)}
	updated := mustUpdate(t, store, history.RoomUpdate{RoomID: "a", Status: pointer(history.Closed), Note: &note})
	if n := updated.Note; n == nil || n.RoomID != notes || n.Seq != 1 || n.OperatorID != "op1" {
		t.Fatalf("note %+v", n)
	}
	wantSame(t, "the note in its room", mustHistory(t, store, notes, history.Page{}).Messages[0], *updated.Note)
	if updated, err := store.UpdateRoom(ctx, history.RoomUpdate{RoomID: "a", Status: pointer(history.Closed), Note: &note}); err != nil || updated.Changed || updated.Note != nil {
		t.Errorf("repeated: %+v, %v", updated, err)
	}
	// A note that cannot be stored: nothing changes.
	was := mustRoom(t, store, "a", nobodyAsks)
	for _, bad := range []struct {
		why  string
		want error
		note history.Draft
	}{
		{"its id belongs to another", history.ErrKeyReuse, history.Draft{RoomID: notes, OperatorID: "op1", ClientID: "n1", Message: json.RawMessage(`1`)}},
		{"no author", history.ErrBadDraft, history.Draft{RoomID: notes, Message: json.RawMessage(`1`)}},
		{"in the room itself", history.ErrBadDraft, history.Draft{RoomID: "a", OperatorID: "op1", Message: json.RawMessage(`1`)}},
		{"no room", history.ErrBadRoom, history.Draft{OperatorID: "op1", Message: json.RawMessage(`1`)}},
	} {
		if _, err := store.UpdateRoom(ctx, history.RoomUpdate{RoomID: "a", Status: pointer(history.Open), Note: &bad.note}); !errors.Is(err, bad.want) {
			t.Errorf("%s: error %v", bad.why, err)
		}
	}
	wantRoom(t, "after bad notes", mustRoom(t, store, "a", nobodyAsks), was)
	// A note that was stored before is not stored again.
	updated = mustUpdate(t, store, history.RoomUpdate{RoomID: "a", Status: pointer(history.Open), Note: &note})
	if updated.Note == nil || updated.Note.Seq != 1 || mustHistory(t, store, notes, history.Page{}).Head != 1 {
		t.Errorf("the note stored twice: %+v", updated.Note)
	}
	if list := listAll(t, store, history.RoomQuery{}); !slices.Equal(list, []string{"a"}) {
		t.Errorf("the list shows notes: %v", list)
	}
}

// testClaim: of many operators that claim a conversation at once, one gets it, and the others are
// told who.
func testClaim(t *testing.T, store rooms) {
	const operators = 50
	for round := range 3 {
		room := fmt.Sprint("r", round)
		mustAppend(t, store, say(room, ann, 1))
		var won atomic.Pointer[string]
		var conflicts atomic.Int32
		var claiming sync.WaitGroup
		start := make(chan struct{})
		for i := range operators {
			claiming.Go(func() {
				<-start
				id := fmt.Sprint("op", i)
				updated, err := store.UpdateRoom(context.Background(), history.RoomUpdate{
					RoomID: room, IfOperator: pointer(""), OperatorID: &id,
					Note: &history.Draft{RoomID: history.NotesRoom(room), OperatorID: id, Message: json.RawMessage(`{"event":"claimed"}`)},
				})
				var conflict *history.Conflict
				switch {
				case err == nil && updated.Changed && updated.Room.OperatorID == id && won.CompareAndSwap(nil, &id):
				case errors.As(err, &conflict) && conflict.Room != nil && conflict.Room.OperatorID != "" && conflict.Room.OperatorID != id:
					conflicts.Add(1)
				default:
					t.Errorf("%s: %+v, %v", id, updated, err)
				}
			})
		}
		close(start)
		claiming.Wait()
		if won.Load() == nil || conflicts.Load() != operators-1 {
			t.Fatalf("won by %v, %d conflicts", won.Load(), conflicts.Load())
		}
		if r := mustRoom(t, store, room, nobodyAsks); r.OperatorID != *won.Load() {
			t.Errorf("won by %s, and has %s", *won.Load(), r.OperatorID)
		}
		if s := mustHistory(t, store, history.NotesRoom(room), history.Page{}); s.Head != 1 || s.Messages[0].OperatorID != *won.Load() {
			t.Errorf("notes %+v", s)
		}
	}
}
