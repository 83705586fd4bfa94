package historytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// rooms is a store that keeps conversations.
type rooms interface {
	history.Store
	history.Rooms
	history.People
}

var roomTests = []test[rooms]{
	{"Conversation", testConversation},
	{"CreateRoom", testCreateRoom},
	{"Waiting", testWaiting},
	{"KeepOperator", testKeepOperator},
	{"ConversationReplay", testConversationReplay},
	{"ChangedRooms", testChangedRooms},
	{"UpdateRoom", testUpdateRoom},
	{"UpdateConditions", testUpdateConditions},
	{"UpdateNote", testUpdateNote},
	{"RoomsRefused", testRoomsRefused},
	{"ListRooms", testListRooms},
	{"ListCursors", testListCursors},
	{"CountRooms", testCountRooms},
	{"Claim", testClaim},
	{"RoomsVisibility", testRoomsVisibility},
	{"RoomsClosed", testRoomsClosed},
	{"RoomsModel", testRoomsModel},
	{"Person", testPerson},
	{"Merge", testMerge},
	{"MergeReplay", testMergeReplay},
	{"MergeRefused", testMergeRefused},
}

// markedRooms is a store that also knows what was changed and read in conversations.
type markedRooms interface {
	rooms
	history.Editor
	history.Reads
}

var markedRoomTests = []test[markedRooms]{
	{"RoomView", testRoomView},
	{"UnreadRooms", testUnreadRooms},
	{"MergeMarks", testMergeMarks},
}

var (
	nobodyAsks = history.Member{}
	op1        = history.Member{OperatorID: "op1"}
	op2        = history.Member{OperatorID: "op2"}
)

func pointer[T any](v T) *T { return &v }

// say is a message of a member; the first one in a room makes it a conversation of the user.
func say(room string, by history.Member, n int) history.Draft {
	d := draft(room, n)
	d.UserID, d.OperatorID = by.UserID, by.OperatorID
	if by.UserID != "" {
		d.Conversation = &history.Conversation{UserID: by.UserID}
	}
	return d
}

func mustRoom(t *testing.T, store rooms, room string, by history.Member) history.Room {
	t.Helper()
	r, err := store.Room(context.Background(), room, by)
	if err != nil {
		t.Fatalf("room %q: %v", room, err)
	}
	return r
}

// mustUpdate updates a room, which must change it.
func mustUpdate(t *testing.T, store rooms, u history.RoomUpdate) history.Updated {
	t.Helper()
	updated, err := store.UpdateRoom(context.Background(), u)
	if err != nil || !updated.Changed {
		t.Fatalf("update %+v: %+v, %v", u, updated, err)
	}
	wantRoom(t, "as updated", updated.Room, mustRoom(t, store, u.RoomID, nobodyAsks))
	return updated
}

func wantRoom(t *testing.T, what string, got, want history.Room) {
	t.Helper()
	if g, w := roomJSON(got), roomJSON(want); g != w {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func roomJSON(r history.Room) string {
	if len(r.Labels) == 0 {
		r.Labels = nil
	}
	data, _ := json.Marshal(r)
	return string(data)
}

// wantRoomConflict checks that err is a conflict that carries the room as it is.
func wantRoomConflict(t *testing.T, what string, store rooms, room string, err error) {
	t.Helper()
	var conflict *history.Conflict
	if !errors.Is(err, history.ErrConflict) || !errors.As(err, &conflict) || conflict.Room == nil {
		t.Errorf("%s: error %v, want a conflict with the room", what, err)
		return
	}
	wantRoom(t, what, *conflict.Room, mustRoom(t, store, room, nobodyAsks))
}

func testConversation(t *testing.T, store rooms) {
	ctx := context.Background()
	d := draft("a", 1)
	d.Conversation = &history.Conversation{
		UserID: "ann", Subject: "A parcel", Labels: []string{"z", "vip", "z"}, Attributes: json.RawMessage(` {"plan" : "pro", "no":null} `),
		Name: "Ann", Email: "ann@example.org", Verified: true,
	}
	m := mustAppend(t, store, d)[0]
	want := history.Room{
		RoomID: "a", UserID: "ann", Status: history.Open, Subject: "A parcel", Labels: []string{"vip", "z"},
		Attributes: json.RawMessage(`{"plan":"pro"}`), Head: 1, LastAt: m.Timestamp, CreatedAt: m.Timestamp, WaitingSince: m.Timestamp, Change: 1, Last: &m,
		User: &history.Person{UserID: "ann", Name: "Ann", Email: "ann@example.org", Verified: true},
	}
	wantRoom(t, "by the first message", mustRoom(t, store, "a", nobodyAsks), want)
	p, err := store.Person(ctx, "ann")
	if err != nil || p.UserID != "ann" || p.Name != "Ann" || p.Email != "ann@example.org" || !p.Verified || !p.CreatedAt.Equal(m.Timestamp.Time) {
		t.Errorf("the person: %+v, %v", p, err)
	}

	// A conversation begins once. What is said later without a token does not replace what a token said.
	d.Conversation = &history.Conversation{UserID: "bob", Subject: "Other"}
	m2 := mustAppend(t, store, d)[0]
	want.Head, want.LastAt, want.Change, want.Last = 2, m2.Timestamp, 2, &m2
	wantRoom(t, "by the second message", mustRoom(t, store, "a", nobodyAsks), want)
	if _, err := store.Person(ctx, "bob"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a person by an ignored conversation: %v", err)
	}
	d = draft("b", 1)
	d.Conversation = &history.Conversation{UserID: "ann", Name: "Mallory", Email: "m@example.org"}
	mustAppend(t, store, d)
	if p, err := store.Person(ctx, "ann"); err != nil || p.Name != "Ann" || p.Email != "ann@example.org" {
		t.Errorf("the verified person: %+v, %v", p, err)
	}

	// An operator's message carries the user's id; an operator can begin a conversation.
	d = say("c", op1, 1)
	d.Conversation = &history.Conversation{UserID: "ann"}
	if m := mustAppend(t, store, d)[0]; m.UserID != "ann" || m.OperatorID != "op1" {
		t.Errorf("an operator's message: %+v", m)
	}
	if r := mustRoom(t, store, "c", nobodyAsks); r.UserID != "ann" || !r.WaitingSince.IsZero() || r.OperatorID != "" {
		t.Errorf("begun by an operator: %+v", r)
	}

	// A room that belongs to nobody stays so.
	free := mustAppend(t, store, draft("free", 1), say("free", ann, 2))[1]
	wantRoom(t, "a free room", mustRoom(t, store, "free", nobodyAsks), history.Room{RoomID: "free", Head: 2, LastAt: free.Timestamp, Last: &free})
	if _, err := store.UpdateRoom(ctx, history.RoomUpdate{RoomID: "free", Subject: pointer("x")}); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("update of a free room: %v", err)
	}
	if _, err := store.Room(ctx, "none", nobodyAsks); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a room that does not exist: %v", err)
	}
}

func testCreateRoom(t *testing.T, store rooms) {
	ctx := context.Background()
	before := time.Now().Truncate(time.Millisecond)
	r, err := store.CreateRoom(ctx, "a", history.Conversation{UserID: "ann", Subject: "s", Labels: []string{"l"}, Name: "Ann"})
	if err != nil || r.CreatedAt.Before(before) || r.CreatedAt.After(time.Now()) {
		t.Fatalf("created %+v, %v", r, err)
	}
	wantRoom(t, "created", r, history.Room{
		RoomID: "a", UserID: "ann", Status: history.Open, Subject: "s", Labels: []string{"l"}, LastAt: r.CreatedAt, CreatedAt: r.CreatedAt, Change: 1,
		User: &history.Person{UserID: "ann", Name: "Ann"},
	})
	wantRoom(t, "read again", mustRoom(t, store, "a", nobodyAsks), r)
	if p, err := store.Person(ctx, "ann"); err != nil || p.Name != "Ann" {
		t.Errorf("the person: %+v, %v", p, err)
	}
	if heads, err := store.Heads(ctx, []string{"a"}); err != nil || len(heads) != 0 {
		t.Errorf("heads %v, %v: the room has no messages", heads, err)
	}
	if s := mustHistory(t, store, "a", history.Page{}); len(s.Messages) != 0 || s.Head != 0 {
		t.Errorf("history %+v", s)
	}
	if list := listAll(t, store, history.RoomQuery{}); !slices.Equal(list, []string{"a"}) {
		t.Errorf("list %v", list)
	}
	_, err = store.CreateRoom(ctx, "a", history.Conversation{UserID: "bob"})
	wantRoomConflict(t, "created again", store, "a", err)
	mustAppend(t, store, draft("free", 1))
	_, err = store.CreateRoom(ctx, "free", history.Conversation{UserID: "bob"})
	wantRoomConflict(t, "a free room", store, "free", err)

	m := mustAppend(t, store, say("a", ann, 1))[0]
	r.Head, r.Last, r.LastAt, r.WaitingSince, r.Change = 1, &m, m.Timestamp, m.Timestamp, 2
	wantRoom(t, "with a message", mustRoom(t, store, "a", nobodyAsks), r)
}

func testWaiting(t *testing.T, store rooms) {
	begun := time.Now().Truncate(time.Millisecond)
	closed, opened := pointer(history.Closed), pointer(history.Open)
	var first history.Message
	for i, step := range []struct {
		what    string
		append  history.Member
		update  history.RoomUpdate
		waiting int // 0: nobody waits, 1: since this message, 2: since an earlier one
		status  history.Status
	}{
		{"the first message", ann, history.RoomUpdate{}, 1, history.Open},
		{"another one", ann, history.RoomUpdate{}, 2, history.Open},
		{"an answer", op1, history.RoomUpdate{}, 0, history.Open},
		{"another answer", op1, history.RoomUpdate{}, 0, history.Open},
		{"a question", ann, history.RoomUpdate{}, 1, history.Open},
		{"no answer is needed", nobodyAsks, history.RoomUpdate{Answered: true}, 0, history.Open},
		{"a question", ann, history.RoomUpdate{}, 1, history.Open},
		{"assigned", nobodyAsks, history.RoomUpdate{OperatorID: pointer("op1")}, 2, history.Open},
		{"closed", nobodyAsks, history.RoomUpdate{Status: closed}, 0, history.Closed},
		{"a word after closing", op1, history.RoomUpdate{}, 0, history.Closed},
		{"reopened by writing", ann, history.RoomUpdate{}, 1, history.Open},
		{"closed", nobodyAsks, history.RoomUpdate{Status: closed}, 0, history.Closed},
		{"reopened", nobodyAsks, history.RoomUpdate{Status: opened}, 0, history.Open},
		{"a question", ann, history.RoomUpdate{}, 1, history.Open},
	} {
		if step.append != nobodyAsks {
			m := mustAppend(t, store, say("a", step.append, i))[0]
			if step.waiting == 1 {
				first = m
			}
		} else {
			step.update.RoomID = "a"
			mustUpdate(t, store, step.update)
		}
		r := mustRoom(t, store, "a", nobodyAsks)
		var since history.Time
		if step.waiting != 0 {
			since = first.Timestamp
		}
		if r.Status != step.status || !r.WaitingSince.Equal(since.Time) || r.ClosedAt.IsZero() != (step.status == history.Open) || r.Change != int64(i+1) {
			t.Errorf("%d, %s: %+v, want waiting since %v", i+1, step.what, r, since)
		}
		if r.Status == history.Closed && r.ClosedAt.Before(begun) {
			t.Errorf("%d, %s: closed at %v", i+1, step.what, r.ClosedAt)
		}
	}
}

// testKeepOperator: a conversation that its user reopens keeps its operator only if the draft says so.
func testKeepOperator(t *testing.T, store rooms) {
	mustAppend(t, store, say("a", ann, 1))
	asked := ""
	keep := func(keep bool) func(string) bool {
		return func(operatorID string) bool { asked += operatorID + " "; return keep }
	}
	for _, test := range []struct {
		by    history.Member
		keep  func(string) bool
		close bool
		want  string
		asked string
	}{
		{ann, keep(false), false, "op1", ""}, // it is open
		{op2, keep(false), true, "op1", ""},  // an operator does not reopen it
		{ann, nil, true, "op1", ""},
		{ann, keep(true), true, "op1", "op1 "},
		{ann, keep(false), true, "", "op1 "},
	} {
		u := history.RoomUpdate{RoomID: "a", OperatorID: pointer("op1"), Status: pointer(history.Open)}
		if test.close {
			u.Status = pointer(history.Closed)
		}
		if _, err := store.UpdateRoom(context.Background(), u); err != nil {
			t.Fatal(err)
		}
		asked = ""
		d := say("a", test.by, 1)
		d.KeepOperator = test.keep
		mustAppend(t, store, d)
		r := mustRoom(t, store, "a", nobodyAsks)
		if r.OperatorID != test.want || asked != test.asked || (r.Status == history.Closed) != (test.close && test.by == op2) {
			t.Errorf("%+v: asked for %q, room %+v", test, asked, r)
		}
	}
}

// testConversationReplay: a message that is repeated changes nothing.
func testConversationReplay(t *testing.T, store rooms) {
	question, answer := say("a", ann, 1), say("a", op1, 2)
	question.ClientID, answer.ClientID = "q", "q"
	mustAppend(t, store, question, answer)
	mustUpdate(t, store, history.RoomUpdate{RoomID: "a", Status: pointer(history.Closed)})
	was := mustRoom(t, store, "a", nobodyAsks)
	other := question
	other.Message = json.RawMessage(`"something else"`)
	results, err := store.Append(context.Background(), []history.Draft{question, answer, other})
	if err != nil || !results[0].Dup || !results[1].Dup || !errors.Is(results[2].Err, history.ErrKeyReuse) {
		t.Fatalf("got %+v, %v", results, err)
	}
	wantRoom(t, "after repetitions", mustRoom(t, store, "a", nobodyAsks), was)

	// Within one batch as well.
	again := say("b", ann, 1)
	again.ClientID = "q"
	if results, err := store.Append(context.Background(), []history.Draft{again, again}); err != nil || results[0].Dup || !results[1].Dup {
		t.Fatalf("got %+v, %v", results, err)
	}
	if r := mustRoom(t, store, "b", nobodyAsks); r.Change != was.Change+1 || r.Head != 1 {
		t.Errorf("after one message: %+v, the change before was %d", r, was.Change)
	}
}

func changes(r []history.Room) (numbers []int64) {
	for i := range r {
		numbers = append(numbers, r[i].Change)
	}
	return numbers
}

func testChangedRooms(t *testing.T, store rooms) {
	ctx := context.Background()
	// 1 a, 2 b, 3 c, 4 a, 5 b in one commit, and free rooms between them; 6 c.
	mustAppend(t, store, say("a", ann, 1), draft("free", 1), say("b", ann, 1), say("c", bob, 1), say("a", op1, 2), draft("free", 2), say("b", ann, 2))
	mustUpdate(t, store, history.RoomUpdate{RoomID: "c", OperatorID: pointer("op1")})
	for _, test := range []struct {
		after      int64
		limit      int
		want       []int64
		next, head int64
	}{
		{0, 0, []int64{4, 5, 6}, 6, 6},
		{0, 2, []int64{4, 5}, 5, 6},
		{5, 2, []int64{6}, 6, 6},
		{4, 1, []int64{5}, 5, 6},
		{0, 3, []int64{4, 5, 6}, 6, 6},
		{6, 3, nil, 6, 6},
		{60, 3, nil, 6, 6},
	} {
		got, err := store.ChangedRooms(ctx, test.after, test.limit, nobodyAsks)
		if err != nil || !slices.Equal(changes(got.Rooms), test.want) || got.Next != test.next || got.Head != test.head {
			t.Errorf("after %d, limit %d: changes %v, next %d, head %d, %v", test.after, test.limit, changes(got.Rooms), got.Next, got.Head, err)
		}
		for _, r := range got.Rooms {
			wantRoom(t, "a changed room", r, mustRoom(t, store, r.RoomID, nobodyAsks))
		}
	}
	// What changes nothing takes no number.
	for _, u := range []history.RoomUpdate{
		{RoomID: "c"}, {RoomID: "c", OperatorID: pointer("op1")}, {RoomID: "c", Status: pointer(history.Open), Subject: pointer("")},
		{RoomID: "a", Answered: true}, {RoomID: "a", RemoveLabels: []string{"x"}, Attributes: json.RawMessage(`{"x":null}`)},
	} {
		if updated, err := store.UpdateRoom(ctx, u); err != nil || updated.Changed {
			t.Errorf("%+v: %+v, %v", u, updated, err)
		}
	}
	mustAppend(t, store, draft(history.NotesRoom("a"), 1))
	if got, err := store.ChangedRooms(ctx, 6, 0, nobodyAsks); err != nil || len(got.Rooms) != 0 || got.Head != 6 {
		t.Errorf("after nothing: %+v, %v", got, err)
	}
	if p, err := store.PutPerson(ctx, history.Person{UserID: "ann", Name: "Ann"}); err != nil || p.Name != "Ann" {
		t.Fatalf("%+v, %v", p, err)
	}
	if got, err := store.ChangedRooms(ctx, 6, 0, nobodyAsks); err != nil || len(got.Rooms) != 2 || got.Head != 8 {
		t.Errorf("after a new name: %+v, %v", got, err)
	}
}

func testRoomsRefused(t *testing.T, store rooms) {
	ctx := context.Background()
	long := func(n int) string { return strings.Repeat("x", n) }
	big := func(n int) json.RawMessage { return json.RawMessage(`{"a":"` + long(n-8) + `"}`) } // n bytes
	many := make([]string, history.MaxLabels+1)
	for i := range many {
		many[i] = fmt.Sprint("label ", i)
	}
	for _, test := range []struct {
		why  string
		want error
		room string
		c    history.Conversation
	}{
		{"no user", history.ErrBadDraft, "x", history.Conversation{}},
		{"long user", history.ErrBadDraft, "x", history.Conversation{UserID: long(history.MaxMemberID + 1)}},
		{"reserved id", history.ErrBadRoom, "~x", history.Conversation{UserID: "ann"}},
		{"no id", history.ErrBadRoom, "", history.Conversation{UserID: "ann"}},
		{"no room for notes", history.ErrBadRoom, long(history.MaxRoomID - len(history.NotesRoom("")) + 1), history.Conversation{UserID: "ann"}},
		{"long subject", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Subject: long(history.MaxSubject + 1)}},
		{"subject with a line break", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Subject: "a\nb"}},
		{"many labels", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Labels: many}},
		{"long label", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Labels: []string{long(history.MaxLabel + 1)}}},
		{"empty label", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Labels: []string{" "}}},
		{"big attributes", history.ErrTooLarge, "x", history.Conversation{UserID: "ann", Attributes: big(history.MaxAttributes + 1)}},
		{"attributes are a list", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Attributes: json.RawMessage(`[]`)}},
		{"attributes are no JSON", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Attributes: json.RawMessage(`{"a":}`)}},
		{"attributes are empty", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Attributes: json.RawMessage{}}},
		{"attributes are not UTF-8", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Attributes: json.RawMessage("{\"a\":\"\xff\"}")}},
		{"long name", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Name: long(history.MaxName + 1)}},
		{"long address", history.ErrBadDraft, "x", history.Conversation{UserID: "ann", Email: long(history.MaxEmail + 1)}},
	} {
		if _, err := store.CreateRoom(ctx, test.room, test.c); !errors.Is(err, test.want) {
			t.Errorf("created with %s: error %v", test.why, err)
		}
		d := draft(test.room, 1)
		d.Conversation = &test.c
		results, err := store.Append(ctx, []history.Draft{draft("free", 1), d})
		if err != nil || !errors.Is(results[1].Err, test.want) || results[0].Err != nil {
			t.Errorf("appended with %s: %+v, %v", test.why, results, err)
		}
	}
	if list := listAll(t, store, history.RoomQuery{}); len(list) != 0 {
		t.Errorf("refused, and there: %v", list)
	}
	// The maximum of every limit is accepted.
	room := long(history.MaxRoomID - len(history.NotesRoom("")))
	if _, err := store.CreateRoom(ctx, room, history.Conversation{
		UserID: long(history.MaxMemberID), Subject: long(history.MaxSubject), Labels: append(many[1:], many[1]), Attributes: big(history.MaxAttributes),
		Name: long(history.MaxName), Email: long(history.MaxEmail),
	}); err != nil {
		t.Fatal(err)
	}
	was := mustRoom(t, store, room, nobodyAsks)
	for _, test := range []struct {
		why  string
		want error
		u    history.RoomUpdate
	}{
		{"one label too many", history.ErrBadDraft, history.RoomUpdate{AddLabels: many[:1]}},
		{"empty label", history.ErrBadDraft, history.RoomUpdate{AddLabels: []string{""}}},
		{"long label", history.ErrBadDraft, history.RoomUpdate{RemoveLabels: []string{long(history.MaxLabel + 1)}}},
		{"one attribute too many", history.ErrTooLarge, history.RoomUpdate{Attributes: json.RawMessage(`{"b":1}`)}},
		{"a huge patch", history.ErrTooLarge, history.RoomUpdate{Attributes: big(1 << 20)}},
		{"attributes are a text", history.ErrBadDraft, history.RoomUpdate{Attributes: json.RawMessage(`"a"`)}},
		{"attributes are null", history.ErrBadDraft, history.RoomUpdate{Attributes: json.RawMessage(`null`)}},
		{"long subject", history.ErrBadDraft, history.RoomUpdate{Subject: pointer(long(history.MaxSubject + 1))}},
		{"long operator", history.ErrBadDraft, history.RoomUpdate{OperatorID: pointer(long(history.MaxMemberID + 1))}},
		{"no owner", history.ErrBadDraft, history.RoomUpdate{UserID: pointer("")}},
		{"unknown status", history.ErrBadDraft, history.RoomUpdate{Status: pointer(history.Status("snoozed"))}},
	} {
		test.u.RoomID = room
		if _, err := store.UpdateRoom(ctx, test.u); !errors.Is(err, test.want) {
			t.Errorf("updated with %s: error %v", test.why, err)
		}
	}
	wantRoom(t, "after refused updates", mustRoom(t, store, room, nobodyAsks), was)
	mustUpdate(t, store, history.RoomUpdate{RoomID: room, AddLabels: many[:1], RemoveLabels: many[1:2]})
	for _, room := range []string{"", "none"} {
		_, err := store.UpdateRoom(ctx, history.RoomUpdate{RoomID: room, Subject: pointer("s")})
		if want := history.ErrNotFound; room != "" && !errors.Is(err, want) || room == "" && !errors.Is(err, history.ErrBadRoom) {
			t.Errorf("update of %q: error %v", room, err)
		}
	}
}

// testRoomsVisibility: who follows the changes has, in the end, what the store has.
func testRoomsVisibility(t *testing.T, store rooms) {
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		mustAppend(t, store, say(name, ann, 0))
	}
	held := make(map[string]history.Room)
	var after int64
	write(t, store, names, func() {
		for {
			got, err := store.ChangedRooms(context.Background(), after, 2, nobodyAsks)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range got.Rooms {
				if r.Change <= after || r.Change > got.Next {
					t.Fatalf("change %d, after %d, next %d", r.Change, after, got.Next)
				}
				held[r.RoomID] = r
			}
			if after = got.Next; after == got.Head {
				return
			}
		}
	})
	for _, name := range names {
		wantRoom(t, "followed", held[name], mustRoom(t, store, name, nobodyAsks))
	}
	if messages := int64(len(names)); after < messages {
		t.Errorf("%d changes", after)
	}
}

func testRoomsClosed(t *testing.T, store rooms) {
	mustAppend(t, store, say("a", ann, 1))
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for what, err := range roomCalls(context.Background(), store) {
		if !errors.Is(err, history.ErrClosed) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for what, err := range roomCalls(ctx, store) {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, history.ErrClosed) {
			t.Errorf("%s, cancelled: error %v", what, err)
		}
	}
}

// roomCalls makes each call, and returns its error.
func roomCalls(ctx context.Context, store rooms) map[string]error {
	errs := make(map[string]error)
	_, errs["Room"] = store.Room(ctx, "a", nobodyAsks)
	_, errs["ListRooms"] = store.ListRooms(ctx, history.RoomQuery{})
	_, errs["ChangedRooms"] = store.ChangedRooms(ctx, 0, 0, nobodyAsks)
	_, errs["CountRooms"] = store.CountRooms(ctx, nobodyAsks)
	_, errs["CreateRoom"] = store.CreateRoom(ctx, "b", history.Conversation{UserID: "ann"})
	_, errs["UpdateRoom"] = store.UpdateRoom(ctx, history.RoomUpdate{RoomID: "a", Subject: pointer("s")})
	_, errs["Person"] = store.Person(ctx, "ann")
	_, errs["PutPerson"] = store.PutPerson(ctx, history.Person{UserID: "ann"})
	_, errs["Merge"] = store.Merge(ctx, "ann", "bob", nil)
	_, errs["Identities"] = store.Identities(ctx, "ann")
	return errs
}
