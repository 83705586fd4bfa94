package historytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/history"
)

// roomModel is all conversations, in the order of their creation.
type roomModel struct {
	rooms  []*history.Room
	heads  map[string]int64 // of all rooms
	change int64
}

func (m *roomModel) at(id string) *history.Room {
	for _, r := range m.rooms {
		if r.RoomID == id {
			return r
		}
	}
	return nil
}

func (m *roomModel) changed(r *history.Room) {
	m.change++
	r.Change = m.change
}

// testRoomsModel compares the store with a list of rooms, under random calls.
func testRoomsModel(t *testing.T, store rooms) {
	ctx := context.Background()
	model := &roomModel{heads: make(map[string]int64)}
	trial := 0
	rapid.Check(t, func(t *rapid.T) {
		trial++
		room := rapid.SampledFrom([]string{fmt.Sprint("x", trial), fmt.Sprint("y", trial), fmt.Sprint("z", trial)})
		user := rapid.SampledFrom([]string{"ann", "bob"})
		operator := rapid.SampledFrom([]string{"", "op1", "op2"})
		status := rapid.SampledFrom([]history.Status{"", history.Open, history.Closed})
		labels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				keep := rapid.Bool().Draw(t, "keep")
				drafts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) history.Draft {
					d := draft(room.Draw(t, "room"), 1)
					d.UserID, d.OperatorID = user.Draw(t, "user"), operator.Draw(t, "operator")
					d.KeepOperator = func(string) bool { return keep }
					if rapid.IntRange(0, 3).Draw(t, "free") > 0 {
						d.Conversation = &history.Conversation{UserID: user.Draw(t, "owner"), Labels: labels.Draw(t, "labels")}
					}
					return d
				}), 1, 10).Draw(t, "drafts")
				results, err := store.Append(ctx, drafts)
				if err != nil {
					t.Fatal(err)
				}
				for i, d := range drafts {
					if results[i].Err != nil {
						t.Fatal(results[i].Err)
					}
					model.append(t, d, results[i].Message, keep)
				}
			},
			"update": func(t *rapid.T) {
				u := history.RoomUpdate{
					RoomID: room.Draw(t, "room"), AddLabels: labels.Draw(t, "add"), RemoveLabels: labels.Draw(t, "remove"),
					Answered: rapid.Bool().Draw(t, "answered"), IfStatus: status.Draw(t, "if status"),
				}
				if rapid.Bool().Draw(t, "if operator") {
					u.IfOperator = pointer(operator.Draw(t, "operator before"))
				}
				if rapid.Bool().Draw(t, "set operator") {
					u.OperatorID = pointer(operator.Draw(t, "operator"))
				}
				if s := status.Draw(t, "status"); s != "" {
					u.Status = &s
				}
				updated, err := store.UpdateRoom(ctx, u)
				model.update(t, u, updated, err)
			},
			"": func(t *rapid.T) { model.compare(t, store, room) },
			"list": func(t *rapid.T) {
				q := history.RoomQuery{
					Status:  status.Draw(t, "status"),
					Waiting: rapid.Bool().Draw(t, "waiting"),
					Label:   rapid.SampledFrom([]string{"", "", "a"}).Draw(t, "label"),
					UserID:  rapid.SampledFrom([]string{"", "", "ann"}).Draw(t, "user"),
					Sort:    rapid.SampledFrom([]history.RoomSort{history.ByActivity, history.ByWaiting, history.ByCreated}).Draw(t, "sort"),
					Limit:   rapid.SampledFrom([]int{20, 100, 500}).Draw(t, "limit"),
				}
				q.Assignee.Kind = history.AssigneeKind(rapid.IntRange(0, 3).Draw(t, "assignee"))
				if q.Assignee.Kind >= history.AssignedTo {
					q.Assignee.OperatorID = "op1"
				}
				if got, want := listAll(t, store, q), model.list(q); !slices.Equal(got, want) {
					t.Fatalf("list %+v:\n got %v\nwant %v", q, got, want)
				}
			},
			"changes": func(t *rapid.T) {
				after := rapid.Int64Range(max(0, model.change-20), model.change).Draw(t, "after")
				limit := rapid.IntRange(1, 5).Draw(t, "limit")
				want := []int64(nil)
				for _, r := range model.rooms {
					if r.Change > after {
						want = append(want, r.Change)
					}
				}
				slices.Sort(want)
				next := model.change
				if len(want) > limit {
					want = want[:limit]
					next = want[limit-1]
				}
				got, err := store.ChangedRooms(ctx, after, limit, nobodyAsks)
				if err != nil || !slices.Equal(changes(got.Rooms), want) || got.Next != next || got.Head != model.change {
					t.Fatalf("after %d, limit %d: %v, next %d, head %d, %v; want %v, next %d, head %d",
						after, limit, changes(got.Rooms), got.Next, got.Head, err, want, next, model.change)
				}
			},
		})
	})
}

// append makes a message of d, which the store has made already.
func (m *roomModel) append(t *rapid.T, d history.Draft, got history.Message, keep bool) {
	isNew := m.heads[d.RoomID] == 0
	m.heads[d.RoomID]++
	if got.Seq != m.heads[d.RoomID] {
		t.Fatalf("seq %d, want %d", got.Seq, m.heads[d.RoomID])
	}
	if isNew && d.Conversation != nil {
		r := &history.Room{RoomID: d.RoomID, UserID: d.Conversation.UserID, Status: history.Open, CreatedAt: got.Timestamp}
		r.User = &history.Person{UserID: r.UserID}
		for _, l := range d.Conversation.Labels {
			if !slices.Contains(r.Labels, l) {
				r.Labels = append(r.Labels, l)
			}
		}
		slices.Sort(r.Labels)
		m.rooms = append(m.rooms, r)
	}
	r := m.at(d.RoomID)
	if r == nil {
		return
	}
	if d.OperatorID != "" && got.UserID != r.UserID {
		t.Fatalf("an operator's message in a conversation of %s: %+v", r.UserID, got)
	}
	m.changed(r)
	r.Head, r.LastAt, r.Last = got.Seq, got.Timestamp, &got
	if d.OperatorID != "" {
		r.WaitingSince = history.Time{}
		return
	}
	if r.Status == history.Closed && !keep {
		r.OperatorID = ""
	}
	r.Status, r.ClosedAt = history.Open, history.Time{}
	if r.WaitingSince.IsZero() {
		r.WaitingSince = got.Timestamp
	}
}

// update makes the change u, which the store has made already.
func (m *roomModel) update(t *rapid.T, u history.RoomUpdate, got history.Updated, err error) {
	r := m.at(u.RoomID)
	if r == nil {
		if !errors.Is(err, history.ErrNotFound) {
			t.Fatalf("update of a room that is no conversation: %v", err)
		}
		return
	}
	to := *r
	if u.Status != nil {
		to.Status = *u.Status
	}
	if u.OperatorID != nil {
		to.OperatorID = *u.OperatorID
	}
	if u.Answered || to.Status == history.Closed {
		to.WaitingSince = history.Time{}
	}
	to.Labels = nil
	for _, l := range []string{"a", "b", "c"} {
		if (slices.Contains(r.Labels, l) || slices.Contains(u.AddLabels, l)) && !slices.Contains(u.RemoveLabels, l) {
			to.Labels = append(to.Labels, l)
		}
	}
	same := roomJSON(to) == roomJSON(*r)
	holds := (u.IfOperator == nil || *u.IfOperator == r.OperatorID) && (u.IfStatus == "" || u.IfStatus == r.Status)
	if !same && !holds {
		if !errors.Is(err, history.ErrConflict) {
			t.Fatalf("%+v of %+v: %+v, %v; want a conflict", u, r, got, err)
		}
		return
	}
	if err != nil || got.Changed == same {
		t.Fatalf("%+v of %+v: %+v, %v", u, r, got, err)
	}
	if same {
		return
	}
	if to.Status != r.Status {
		to.ClosedAt = got.Room.ClosedAt
		if to.ClosedAt.IsZero() != (to.Status == history.Open) {
			t.Fatalf("%+v: closed at %v", u, to.ClosedAt)
		}
	}
	*r = to
	m.changed(r)
}

// compare compares the rooms of a trial.
func (m *roomModel) compare(t *rapid.T, store rooms, room *rapid.Generator[string]) {
	id := room.Draw(t, "room")
	got, err := store.Room(context.Background(), id, nobodyAsks)
	want := m.at(id)
	switch {
	case m.heads[id] == 0:
		if !errors.Is(err, history.ErrNotFound) {
			t.Fatalf("a room that does not exist: %+v, %v", got, err)
		}
	case err != nil:
		t.Fatal(err)
	case want == nil:
		if got.Status != "" || got.UserID != "" || got.Change != 0 || got.Head != m.heads[id] {
			t.Fatalf("a free room: %+v", got)
		}
	case roomJSON(got) != roomJSON(*want):
		t.Fatalf("got %s, want %s", roomJSON(got), roomJSON(*want))
	}
}

// list returns the ids of the list, in order.
func (m *roomModel) list(q history.RoomQuery) (ids []string) {
	var found []*history.Room
	created := make(map[*history.Room]int)
	for i, r := range m.rooms {
		created[r] = i
		assigned := map[history.AssigneeKind]bool{
			history.AnyAssignee:      true,
			history.NoAssignee:       r.OperatorID == "",
			history.AssignedTo:       r.OperatorID == "op1",
			history.AssignedToOthers: r.OperatorID == "op2",
		}[q.Assignee.Kind]
		if assigned && (q.Status == "" || r.Status == q.Status) && (!q.Waiting || !r.WaitingSince.IsZero()) &&
			(q.Label == "" || slices.Contains(r.Labels, q.Label)) && (q.UserID == "" || r.UserID == q.UserID) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *history.Room) int { return compareRooms(q.Sort, *a, *b, created[a] > created[b]) })
	for _, r := range found {
		ids = append(ids, r.RoomID)
	}
	return ids
}
