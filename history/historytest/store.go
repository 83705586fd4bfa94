package historytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// Run checks that the stores that open returns behave as [history.Store] requires, and as each of its
// capabilities does that they have. open must return an empty store that is closed when the test
// ends.
func Run(t *testing.T, open func(testing.TB) history.Store) {
	run(t, open, storeTests)
	run(t, open, editTests)
	run(t, open, markTests)
	run(t, open, roomTests)
	run(t, open, markedRoomTests)
	run(t, open, followedRoomTests)
	run(t, open, changelogTests)
	run(t, open, changelogEditTests)
	run(t, open, pruneTests)
	run(t, open, prunedRoomTests)
	run(t, open, searchTests)
	run(t, open, eraseTests)
	run(t, open, erasePersonTests)
	run(t, open, exportTests)
}

// test is a test of stores with the capability S.
type test[S any] struct {
	name string
	run  func(*testing.T, S)
}

// run runs tests if the stores have the capability S.
func run[S any](t *testing.T, open func(testing.TB) history.Store, tests []test[S]) {
	if _, ok := open(t).(S); !ok {
		return
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t).(S)) })
	}
}

var storeTests = []test[history.Store]{
	{"Append", testAppend},
	{"Refused", testRefused},
	{"AnyJSON", testAnyJSON},
	{"Replay", testReplay},
	{"ReplayWithinBatch", testReplayWithinBatch},
	{"Scope", testScope},
	{"Pages", testPages},
	{"Changes", testChanges},
	{"Bytes", testBytes},
	{"Heads", testHeads},
	{"EmptyRoom", testEmptyRoom},
	{"Cancelled", testCancelled},
	{"Closed", testClosed},
	{"Visibility", testVisibility},
	{"Atomicity", testAtomicity},
	{"Contention", testContention},
	{"Model", testModel},
}

func draft(room string, n int) history.Draft {
	return history.Draft{RoomID: room, UserID: "ann", Message: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
}

// mustAppend appends drafts and fails the test if one cannot be stored.
func mustAppend(t *testing.T, store history.Store, drafts ...history.Draft) []history.Message {
	t.Helper()
	results, err := store.Append(context.Background(), drafts)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	if len(results) != len(drafts) {
		t.Fatalf("%d results for %d drafts", len(results), len(drafts))
	}
	messages := make([]history.Message, len(results))
	for i, r := range results {
		if r.Err != nil || r.Dup {
			t.Fatalf("draft %d: dup %v, error %v", i, r.Dup, r.Err)
		}
		messages[i] = r.Message
	}
	return messages
}

func mustHistory(t *testing.T, store history.Store, room string, p history.Page) history.Slice {
	t.Helper()
	s, err := store.History(context.Background(), room, p)
	if err != nil {
		t.Fatalf("history of %q, %+v: %v", room, p, err)
	}
	return s
}

func mustChanges(t *testing.T, store history.Store, room string, since int64, limit int) history.Slice {
	t.Helper()
	s, err := store.Changes(context.Background(), room, since, history.Limit{Messages: limit})
	if err != nil {
		t.Fatalf("changes of %q since %d: %v", room, since, err)
	}
	return s
}

func wantSame(t *testing.T, what string, got, want history.Message) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func wantSeqs(t *testing.T, what string, got []history.Message, from, to int64) {
	t.Helper()
	ok := int64(len(got)) == max(to-from+1, 0)
	for i, m := range got {
		ok = ok && m.Seq == from+int64(i)
	}
	if !ok {
		seqs := make([]int64, len(got))
		for i, m := range got {
			seqs[i] = m.Seq
		}
		t.Errorf("%s: got %v, want %d to %d", what, seqs, from, to)
	}
}

func testAppend(t *testing.T, store history.Store) {
	before := time.Now().Truncate(time.Millisecond)
	text := []byte(` { "text" : "hi there" } `)
	m := mustAppend(t, store, history.Draft{RoomID: "a", UserID: "ann", OperatorID: "op", ClientID: "c1", Message: text})[0]
	clear(text) // the caller may reuse it
	if m.RoomID != "a" || m.UserID != "ann" || m.OperatorID != "op" || m.ClientID != "c1" || m.Seq != 1 || m.Rev != 0 || m.ID == "" {
		t.Errorf("got %+v", m)
	}
	if got := string(m.Message); got != `{"text":"hi there"}` {
		t.Errorf("message %s", got)
	}
	if m.Timestamp.Before(before) || m.Timestamp.After(time.Now()) || !m.Timestamp.Equal(m.Timestamp.Truncate(time.Millisecond)) {
		t.Errorf("timestamp %v, appended after %v", m.Timestamp, before)
	}
	wantSame(t, "read again", mustHistory(t, store, "a", history.Page{}).Messages[0], m)

	// A batch over two rooms: numbers ascend in each, in the order of the drafts.
	got := mustAppend(t, store, draft("a", 2), draft("b", 1), draft("a", 3), draft("b", 2))
	for i, want := range []int64{2, 1, 3, 2} {
		if got[i].Seq != want {
			t.Errorf("draft %d: seq %d, want %d", i, got[i].Seq, want)
		}
	}
	ids := map[string]bool{m.ID: true}
	for _, m := range got {
		if ids[m.ID] {
			t.Errorf("id %s given twice", m.ID)
		}
		ids[m.ID] = true
	}
	if results, err := store.Append(context.Background(), nil); err != nil || len(results) != 0 {
		t.Errorf("no drafts: %v, %v", results, err)
	}
}

func testRefused(t *testing.T, store history.Store) {
	long := func(n int) string { return strings.Repeat("x", n) }
	change := func(f func(*history.Draft)) history.Draft {
		d := draft("a", 1)
		f(&d)
		return d
	}
	for _, test := range []struct {
		why   string
		want  error
		draft history.Draft
	}{
		{"no room", history.ErrBadRoom, draft("", 1)},
		{"long room", history.ErrBadRoom, draft(long(history.MaxRoomID+1), 1)},
		{"control character", history.ErrBadRoom, draft("a\x00", 1)},
		{"C1 control character", history.ErrBadRoom, draft("a\u0085", 1)},
		{"room not UTF-8", history.ErrBadRoom, draft("a\xff", 1)},
		{"nobody", history.ErrBadDraft, change(func(d *history.Draft) { d.UserID = "" })},
		{"long user", history.ErrBadDraft, change(func(d *history.Draft) { d.UserID = long(history.MaxMemberID + 1) })},
		{"long operator", history.ErrBadDraft, change(func(d *history.Draft) { d.OperatorID = long(history.MaxMemberID + 1) })},
		{"long client id", history.ErrBadDraft, change(func(d *history.Draft) { d.ClientID = long(history.MaxClientID + 1) })},
		{"client id with a line break", history.ErrBadDraft, change(func(d *history.Draft) { d.ClientID = "a\nb" })},
		{"no message", history.ErrBadDraft, change(func(d *history.Draft) { d.Message = nil })},
		{"no JSON", history.ErrBadDraft, change(func(d *history.Draft) { d.Message = []byte(`{"a":}`) })},
		{"two values", history.ErrBadDraft, change(func(d *history.Draft) { d.Message = []byte(`1 2`) })},
		{"JSON not UTF-8", history.ErrBadDraft, change(func(d *history.Draft) { d.Message = []byte("\"\xff\"") })},
		{"too large", history.ErrTooLarge, change(func(d *history.Draft) {
			d.Message = []byte(`"` + long(history.MaxMessage-1) + `"`)
		})},
	} {
		results, err := store.Append(context.Background(), []history.Draft{draft("a", 1), test.draft, draft("a", 2)})
		if err != nil {
			t.Fatalf("%s: the batch failed: %v", test.why, err)
		}
		if !errors.Is(results[1].Err, test.want) {
			t.Errorf("%s: error %v, want %v", test.why, results[1].Err, test.want)
		}
		if results[0].Err != nil || results[2].Err != nil || results[2].Message.Seq != results[0].Message.Seq+1 {
			t.Errorf("%s: affected its neighbours: %+v, %+v", test.why, results[0], results[2])
		}
	}
	// The maximum of every limit is accepted.
	mustAppend(t, store, history.Draft{
		RoomID: long(history.MaxRoomID), UserID: long(history.MaxMemberID), OperatorID: long(history.MaxMemberID),
		ClientID: long(history.MaxClientID), Message: []byte(`"` + long(history.MaxMessage-2) + `"`),
	})
}

func testAnyJSON(t *testing.T, store history.Store) {
	for i, message := range []string{
		`null`, `false`, `0`, `-1.50e+300`, `12345678901234567890123`, `""`, `[]`, `{}`,
		`"\u0000 \u2028 \ud83d\ude00"`, `"😀 é e\u0301"`, "\"\u2028 <script>&\"", `{"a":1,"a":2}`, `{"b":1,"a":{"c":[[[]]]}}`,
		`"'); DROP TABLE messages; --"`,
	} {
		room := fmt.Sprintf("json %d ü'\"", i)
		d := draft(room, 0)
		d.Message = []byte(message)
		mustAppend(t, store, d)
		if got := string(mustHistory(t, store, room, history.Page{}).Messages[0].Message); got != message {
			t.Errorf("stored %s, read %s", message, got)
		}
	}
}

func testReplay(t *testing.T, store history.Store) {
	d := draft("a", 1)
	d.ClientID = "c1"
	original := mustAppend(t, store, d)[0]
	mustAppend(t, store, draft("a", 2))

	spaced, other := d, d
	spaced.Message = []byte(` {"n" : 1}`)
	other.Message = []byte(`{"n":3}`)
	results, err := store.Append(context.Background(), []history.Draft{draft("a", 4), d, spaced, other, draft("a", 5)})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{1, 2} {
		if results[i].Err != nil || !results[i].Dup {
			t.Errorf("replay %d: %+v", i, results[i])
		}
		wantSame(t, "replay", results[i].Message, original)
	}
	if !errors.Is(results[3].Err, history.ErrKeyReuse) {
		t.Errorf("the id of another message: %+v", results[3])
	}
	if a, b := results[0].Message.Seq, results[4].Message.Seq; a != 3 || b != 4 {
		t.Errorf("a replay took a number: the messages beside it have %d and %d", a, b)
	}
	wantSeqs(t, "stored", mustHistory(t, store, "a", history.Page{}).Messages, 1, 4)
}

func testReplayWithinBatch(t *testing.T, store history.Store) {
	d, other := draft("a", 1), draft("a", 2)
	d.ClientID, other.ClientID = "c1", "c1"
	results, err := store.Append(context.Background(), []history.Draft{d, d, other, draft("a", 3)})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Dup || results[0].Err != nil || !results[1].Dup || results[1].Message.Seq != 1 {
		t.Errorf("got %+v, %+v", results[0], results[1])
	}
	if !errors.Is(results[2].Err, history.ErrKeyReuse) {
		t.Errorf("the id of another message: %+v", results[2])
	}
	wantSeqs(t, "stored", mustHistory(t, store, "a", history.Page{}).Messages, 1, 2)
}

// testScope: a client id belongs to one author in one room.
func testScope(t *testing.T, store history.Store) {
	d := draft("a", 1)
	d.ClientID = "c1"
	room, user, operator, sameName := d, d, d, d
	room.RoomID = "b"
	user.UserID = "bob"
	operator.OperatorID = "op"
	sameName.UserID, sameName.OperatorID = "", "ann"
	mustAppend(t, store, d, room, user, operator, sameName)

	// The author of an operator's message is the operator, no matter to whom it is written.
	operator.UserID = "bob"
	results, err := store.Append(context.Background(), []history.Draft{operator})
	if err != nil || !results[0].Dup {
		t.Errorf("the same operator's id: %+v, %v", results, err)
	}
	// Without a client id, nothing is a repetition.
	mustAppend(t, store, draft("c", 1), draft("c", 1))
}

func testPages(t *testing.T, store history.Store) {
	var drafts []history.Draft
	for n := range 10 {
		// Neighbors on both sides, which no page may show.
		drafts = append(drafts, draft("0", n), draft("a", n), draft("b", n))
	}
	mustAppend(t, store, drafts...)
	for _, test := range []struct {
		page                  history.Page
		from, to              int64
		moreBefore, moreAfter bool
	}{
		{history.Page{}, 1, 10, false, false},
		{history.Page{Limit: history.Limit{Messages: 3}}, 8, 10, true, false},
		{history.Page{Limit: history.Limit{Messages: 10}}, 1, 10, false, false},
		{history.Page{Limit: history.Limit{Messages: math.MaxInt}}, 1, 10, false, false},
		{history.Page{Before: 8, Limit: history.Limit{Messages: 3}}, 5, 7, true, true},
		{history.Page{Before: 4, Limit: history.Limit{Messages: 3}}, 1, 3, false, true},
		{history.Page{Before: 1, Limit: history.Limit{Messages: 3}}, 1, 0, false, true},
		{history.Page{Before: 1 << 60, Limit: history.Limit{Messages: 3}}, 8, 10, true, false},
		{history.Page{After: -1, Limit: history.Limit{Messages: 3}}, 1, 3, false, true},
		{history.Page{After: 3, Limit: history.Limit{Messages: 3}}, 4, 6, true, true},
		{history.Page{After: 7, Limit: history.Limit{Messages: 3}}, 8, 10, true, false},
		{history.Page{After: 10, Limit: history.Limit{Messages: 3}}, 1, 0, true, false},
		{history.Page{Around: 5, Limit: history.Limit{Messages: 4}}, 3, 6, true, true},
		{history.Page{Around: 5, Limit: history.Limit{Messages: 5}}, 3, 7, true, true},
		{history.Page{Around: 5, Limit: history.Limit{Messages: 1}}, 5, 5, true, true},
		{history.Page{Around: 1, Limit: history.Limit{Messages: 4}}, 1, 2, false, true},
		{history.Page{Around: 10, Limit: history.Limit{Messages: 4}}, 8, 10, true, false},
	} {
		s := mustHistory(t, store, "a", test.page)
		what := fmt.Sprintf("%+v", test.page)
		wantSeqs(t, what, s.Messages, test.from, test.to)
		if s.MoreBefore != test.moreBefore || s.MoreAfter != test.moreAfter || s.Head != 10 || s.Floor != 0 {
			t.Errorf("%s: %v %v, head %d, floor %d", what, s.MoreBefore, s.MoreAfter, s.Head, s.Floor)
		}
		for _, m := range s.Messages {
			if m.RoomID != "a" {
				t.Errorf("%s: a message of room %q", what, m.RoomID)
			}
		}
	}
	for _, page := range []history.Page{{Before: 1, After: 1}, {After: 1, Around: 1}, {Before: -1}, {After: -2}, {Around: -1}} {
		if _, err := store.History(context.Background(), "a", page); !errors.Is(err, history.ErrBadPage) {
			t.Errorf("%+v: error %v", page, err)
		}
	}
	if _, err := store.History(context.Background(), "", history.Page{}); !errors.Is(err, history.ErrBadRoom) {
		t.Errorf("no room: error %v", err)
	}
}

func testChanges(t *testing.T, store history.Store) {
	var drafts []history.Draft
	for n := range 10 {
		drafts = append(drafts, draft("a", n), draft("b", n))
	}
	mustAppend(t, store, drafts...)
	for _, test := range []struct {
		since          int64
		limit          int
		from, to, upTo int64
	}{
		{-1, 0, 1, 10, 10},
		{0, 4, 1, 4, 4},
		{4, 4, 5, 8, 8},
		{6, 4, 7, 10, 10},
		{8, 4, 9, 10, 10},
		{10, 4, 1, 0, 10},
		{1 << 60, 4, 1, 0, 10},
	} {
		s := mustChanges(t, store, "a", test.since, test.limit)
		what := fmt.Sprintf("changes since %d, limit %d", test.since, test.limit)
		wantSeqs(t, what, s.Messages, test.from, test.to)
		if s.UpTo != test.upTo || s.Head != 10 || s.MoreAfter != (test.upTo < 10) {
			t.Errorf("%s: up to %d, head %d, more %v", what, s.UpTo, s.Head, s.MoreAfter)
		}
	}
	if _, err := store.Changes(context.Background(), "", 0, history.Limit{}); !errors.Is(err, history.ErrBadRoom) {
		t.Errorf("no room: error %v", err)
	}
}

func testHeads(t *testing.T, store history.Store) {
	mustAppend(t, store, draft("a", 1), draft("a", 2), draft(`b"`, 1))
	heads, err := store.Heads(context.Background(), []string{"a", `b"`, "none"})
	if err != nil || len(heads) != 2 || heads["a"] != 2 || heads[`b"`] != 1 {
		t.Errorf("got %v, %v", heads, err)
	}
	if heads, err := store.Heads(context.Background(), nil); err != nil || len(heads) != 0 {
		t.Errorf("of no rooms: %v, %v", heads, err)
	}
	if store.Epoch() == "" {
		t.Error("no epoch")
	}
}

func testEmptyRoom(t *testing.T, store history.Store) {
	for what, s := range map[string]history.Slice{
		"history": mustHistory(t, store, "none", history.Page{}),
		"before":  mustHistory(t, store, "none", history.Page{Before: 7}),
		"after":   mustHistory(t, store, "none", history.Page{After: 7}),
		"around":  mustHistory(t, store, "none", history.Page{Around: 7}),
		"changes": mustChanges(t, store, "none", 0, 0),
	} {
		if s.Messages == nil || len(s.Messages) != 0 || s.Head != 0 || s.UpTo != 0 || s.MoreBefore || s.MoreAfter {
			t.Errorf("%s of a room that does not exist: %+v", what, s)
		}
	}
}

func testCancelled(t *testing.T, store history.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := store.Append(ctx, []history.Draft{draft("a", 1)}); !errors.Is(err, context.Canceled) || !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("append: error %v", err)
	}
	if _, err := store.History(ctx, "a", history.Page{}); !errors.Is(err, context.Canceled) {
		t.Errorf("history: error %v", err)
	}
	if _, err := store.Changes(ctx, "a", 0, history.Limit{}); !errors.Is(err, context.Canceled) {
		t.Errorf("changes: error %v", err)
	}
	if _, err := store.Heads(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("heads: error %v", err)
	}
	if s := mustHistory(t, store, "a", history.Page{}); s.Head != 0 {
		t.Errorf("a cancelled append was stored: %+v", s)
	}
}

func testClosed(t *testing.T, store history.Store) {
	mustAppend(t, store, draft("a", 1))
	for range 2 {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	ctx := context.Background()
	if _, err := store.Append(ctx, []history.Draft{draft("a", 1)}); !errors.Is(err, history.ErrClosed) {
		t.Errorf("append: error %v", err)
	}
	if _, err := store.History(ctx, "a", history.Page{}); !errors.Is(err, history.ErrClosed) {
		t.Errorf("history: error %v", err)
	}
	if _, err := store.Changes(ctx, "a", 0, history.Limit{}); !errors.Is(err, history.ErrClosed) {
		t.Errorf("changes: error %v", err)
	}
	if _, err := store.Heads(ctx, []string{"a"}); !errors.Is(err, history.ErrClosed) {
		t.Errorf("heads: error %v", err)
	}
}
