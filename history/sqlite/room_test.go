package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// firstVersion makes a store as the first version of the schema has it.
func firstVersion(t *testing.T, path, rows string) {
	t.Helper()
	script, err := os.ReadFile("migrations/0001_rooms.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{
		"PRAGMA application_id = 0x50726c79",
		"CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT",
		string(script), "INSERT INTO migrations VALUES (1, 0)", rows,
	} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
}

const firstRows = `
	INSERT INTO rooms (id, room_id, head, last_at) VALUES (1, 'a', 3, 1700000000003), (2, 'b', 1, 1700000000009);
	INSERT INTO messages (id, user_id, operator_id, message, timestamp, client_id) VALUES
		(1 << 32 | 1, 'ann', NULL, '{"text":"one"}', 1700000000001, 'c1'),
		(1 << 32 | 2, NULL, 'op', '"two"', 1700000000002, NULL),
		(1 << 32 | 3, 'ann', NULL, '3', 1700000000003, 'c3'),
		(2 << 32 | 1, 'bob', NULL, 'null', 1700000000009, 'c1');`

// A store of the first version has all its rows, and does everything that a new one does.
func TestFromFirstVersion(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "history.db")
	firstVersion(t, path, firstRows)
	if err := sound(path); err != nil { // before the migration as well
		t.Errorf("the old file: %v", err)
	}
	s := openAt(t, path)
	if r, err := s.Room(ctx, "a", history.Member{UserID: "bob"}); err != nil || r.Head != 3 || r.Status != "" || r.UserID != "" ||
		r.Change != 0 || r.Unread != 3 || r.Last == nil || r.Last.Seq != 3 || r.LastAt != history.TimeMilli(1700000000003) {
		t.Errorf("an old room: %+v, %v", r, err)
	}
	page, err := s.History(ctx, "a", history.Page{})
	if err != nil || len(page.Messages) != 3 || string(page.Messages[0].Message) != `{"text":"one"}` || page.Messages[1].OperatorID != "op" {
		t.Errorf("its messages: %+v, %v", page, err)
	}
	results, err := s.Append(ctx, []history.Draft{
		{RoomID: "a", UserID: "ann", ClientID: "c3", Message: []byte("3")},
		{RoomID: "a", UserID: "ann", ClientID: "c4", Message: []byte("4"), Conversation: &history.Conversation{UserID: "ann"}},
		{RoomID: "new", UserID: "ann", Message: []byte("5"), Conversation: &history.Conversation{UserID: "ann"}},
	})
	if err != nil || !results[0].Dup || results[1].Message.Seq != 4 || results[2].Message.Seq != 1 {
		t.Fatalf("appended: %+v, %v", results, err)
	}
	list, err := s.ListRooms(ctx, history.RoomQuery{})
	if err != nil || len(list.Rooms) != 1 || list.Rooms[0].RoomID != "new" || list.Head != 1 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if m, err := s.MarkRead(ctx, "a", history.Member{UserID: "ann"}, 2); err != nil || m.Seq != 2 {
		t.Errorf("mark: %+v, %v", m, err)
	}
	if e, err := s.Edit(ctx, history.Edit{RoomID: "a", Seq: 1, Message: []byte("1")}); err != nil || e.Message.Rev != 5 {
		t.Errorf("edit: %+v, %v", e, err)
	}
	if err := sound(path); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Rooms, changes and merges survive a restart, and so does the order of changes.
func TestRoomsReopen(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := sqlite.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := history.Draft{RoomID: "a", UserID: "v1", ClientID: "c1", Message: []byte("1"), Conversation: &history.Conversation{UserID: "v1", Name: "V"}}
	if _, err := s.Append(ctx, []history.Draft{d}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Merge(ctx, "v1", "ann", nil); err != nil {
		t.Fatal(err)
	}
	was, err := s.Room(ctx, "a", history.Member{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openAt(t, path)
	if r, err := s.Room(ctx, "a", history.Member{}); err != nil || fmt.Sprintf("%+v", r.Change) != fmt.Sprint(was.Change) || r.UserID != "ann" {
		t.Errorf("after opening it again: %+v, %v", r, err)
	}
	d.UserID, d.Conversation = "ann", nil
	again := history.Draft{RoomID: "a", UserID: "ann", Message: []byte("2")}
	results, err := s.Append(ctx, []history.Draft{d, again})
	if err != nil || !results[0].Dup || results[1].Err != nil {
		t.Errorf("what the visitor sent, repeated: %+v, %v", results, err)
	}
	if r, err := s.Room(ctx, "a", history.Member{}); err != nil || r.Change != was.Change+1 || r.Head != 2 {
		t.Errorf("after a message: %+v, %v", r, err)
	}
}

// An erasure takes a change, and hides the changes before it.
func TestChangesAfterErasure(t *testing.T) {
	ctx := context.Background()
	s := open(t).(*sqlite.Store)
	talk := func(room string) {
		t.Helper()
		d := history.Draft{RoomID: room, UserID: "ann", Message: []byte("1"), Conversation: &history.Conversation{UserID: "ann"}}
		if _, err := s.Append(ctx, []history.Draft{d}); err != nil {
			t.Fatal(err)
		}
	}
	talk("a")
	talk("b")
	if err := s.Exec("DELETE FROM rooms WHERE room_id = 'b'; DELETE FROM messages WHERE id >> 32 = 2; INSERT INTO meta VALUES ('erased_change', '3')"); err != nil {
		t.Fatal(err)
	}
	for _, after := range []int64{0, 1, 2} {
		if _, err := s.ChangedRooms(ctx, after, 0, history.Member{}); !errors.Is(err, history.ErrPruned) {
			t.Errorf("after %d: error %v", after, err)
		}
	}
	if list, err := s.ListRooms(ctx, history.RoomQuery{}); err != nil || list.Head != 3 || len(list.Rooms) != 1 {
		t.Errorf("list %+v, %v", list, err)
	}
	talk("c")
	changed, err := s.ChangedRooms(ctx, 3, 0, history.Member{})
	if err != nil || len(changed.Rooms) != 1 || changed.Rooms[0].Change != 4 || changed.Next != 4 {
		t.Errorf("%+v, %v", changed, err)
	}
}

// The writer may forget every room between two commits.
func TestRoomsForgotten(t *testing.T) {
	ctx := context.Background()
	s := open(t).(*sqlite.Store)
	s.SetMaxKnown(0)
	open, closed := history.Open, history.Closed
	var want int64
	for i := range 5 {
		d := history.Draft{RoomID: "a", UserID: "ann", Message: []byte("1"), Conversation: &history.Conversation{UserID: "ann"}}
		if i%2 == 1 {
			d.OperatorID = "op"
		}
		if _, err := s.Append(ctx, []history.Draft{d, {RoomID: "free", UserID: "ann", Message: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
		want++
		r, err := s.Room(ctx, "a", history.Member{})
		if err != nil || r.Change != want || r.Status != open || r.WaitingSince.IsZero() != (i%2 == 1) {
			t.Errorf("%d: %+v, %v", i, r, err)
		}
		if i == 2 {
			if _, err := s.UpdateRoom(ctx, history.RoomUpdate{RoomID: "a", Status: &closed}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.UpdateRoom(ctx, history.RoomUpdate{RoomID: "a", Status: &open}); err != nil {
				t.Fatal(err)
			}
			want += 2
		}
	}
}

// No list looks at all rooms, and none sorts them: except for those of one user, each goes through an
// index in its order.
func TestListPlans(t *testing.T) {
	t.Parallel()

	s := open(t).(*sqlite.Store)
	assignees := []history.Assignee{
		{}, {Kind: history.NoAssignee}, {Kind: history.AssignedTo, OperatorID: "op"}, {Kind: history.AssignedToOthers, OperatorID: "op"},
	}
	var queries int
	for _, sort := range []history.RoomSort{history.ByActivity, history.ByWaiting, history.ByCreated} {
		for _, status := range []history.Status{"", history.Open, history.Closed} {
			for _, assignee := range assignees {
				for flags := range 16 {
					q := history.RoomQuery{Sort: sort, Status: status, Assignee: assignee, By: history.Member{OperatorID: "op"}}
					q.Waiting, q.Unread = flags&1 != 0, flags&2 != 0
					if flags&4 != 0 {
						q.Label = "vip"
					}
					if flags&8 != 0 {
						q.UserID = "ann"
					}
					for _, after := range []*history.RoomPosition{nil, {Key: 1, ID: 1}} {
						for _, rest := range []bool{false, true} {
							query, args := sqlite.ListQuery(&q, rest, after)
							plan, err := s.Plan(query, args...)
							if err != nil {
								t.Fatalf("%+v: %v\n%s", q, err, query)
							}
							queries++
							for _, step := range plan {
								if strings.HasPrefix(step, "SCAN r") && !strings.Contains(step, "rooms_waiting") || strings.Contains(step, "TEMP B-TREE") && q.UserID == "" {
									t.Errorf("%+v, rest %v, after %v: %q\n%s", q, rest, after, plan, query)
								}
							}
						}
					}
				}
			}
		}
	}
	if queries == 0 {
		t.Error("no queries")
	}
	for _, by := range []history.Member{{}, {OperatorID: "op"}, {UserID: "ann"}} {
		for _, query := range sqlite.CountQueries(by) {
			plan, err := s.Plan(query, "op", 1)
			if err != nil || slices.ContainsFunc(plan, func(step string) bool {
				return strings.HasPrefix(step, "SCAN rooms") && !strings.Contains(step, "rooms_waiting")
			}) {
				t.Errorf("%s: %q, %v", query, plan, err)
			}
		}
	}
	for query, want := range map[string]string{
		sqlite.ChangedRoomsQuery: "USING INDEX rooms_change (change>?)",
		sqlite.NewestChangeQuery: "SEARCH rooms USING INDEX rooms_change",
		sqlite.ReplayMergedQuery: "USING INDEX messages_client",
	} {
		plan, err := s.Plan(query, 1, 1, 1)
		if err != nil || !strings.Contains(strings.Join(plan, "\n"), want) {
			t.Errorf("%s: %q, %v", query, plan, err)
		}
	}
	plan, err := s.Plan(sqlite.ViewQuery, "oop", "[1]", 100, 1000)
	for _, step := range plan {
		if strings.HasPrefix(step, "SCAN") && !strings.HasPrefix(step, "SCAN j") && !strings.HasPrefix(step, "SCAN (subquery") {
			t.Errorf("a row: %q", plan)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// A page looks at a bounded number of conversations, and its cursor goes on: in the end nothing is
// missing.
func TestListBounded(t *testing.T) {
	ctx := context.Background()
	s := open(t).(*sqlite.Store)
	const rooms = 3 * sqlite.MaxScan
	var drafts []history.Draft
	for i := range rooms {
		c := &history.Conversation{UserID: "ann"}
		if i == 0 || i == rooms-1 {
			c.Labels = []string{"rare"}
		}
		drafts = append(drafts, history.Draft{RoomID: fmt.Sprint("r", i), UserID: "ann", Message: []byte("1"), Conversation: c})
	}
	if _, err := s.Append(ctx, drafts); err != nil {
		t.Fatal(err)
	}
	for _, sort := range []history.RoomSort{history.ByActivity, history.ByCreated, history.ByWaiting} {
		q := history.RoomQuery{Label: "rare", Sort: sort}
		var found []string
		pages := 0
		for {
			list, err := s.ListRooms(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, r := range list.Rooms {
				found = append(found, r.RoomID)
			}
			if q.Cursor = list.Next; q.Cursor == "" {
				break
			}
		}
		slices.Sort(found)
		if want := []string{"r0", fmt.Sprint("r", rooms-1)}; !slices.Equal(found, want) || pages < 3 || pages > 6 {
			t.Errorf("%s: %v on %d pages", sort, found, pages)
		}
	}
}
