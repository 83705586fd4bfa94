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

// searcher is a store that finds messages.
type searcher interface {
	history.Store
	history.Searcher
}

var searchTests = []test[searcher]{
	{"SearchRoom", testSearchRoom},
	{"SearchWords", testSearchWords},
	{"SearchPages", testSearchPages},
	{"SearchNotes", testSearchNotes},
	{"SearchTimes", testSearchTimes},
	{"SearchRefused", testSearchRefused},
}

// RunSearch checks that stores find messages in all rooms.
func RunSearch(t *testing.T, open func(testing.TB) history.Store) {
	run(t, open, []test[searcher]{
		{"All", testSearchAll},
		{"Following", testSearchFollowing},
		{"AllPages", testSearchAllPages},
	})
}

func says(room, user, text string) history.Draft {
	content, _ := json.Marshal(map[string]string{"text": text})
	return history.Draft{RoomID: room, UserID: user, Message: content}
}

// found returns all results of a query, page after page, as "room/seq".
func found(t *testing.T, store searcher, q history.SearchQuery) (hits []string, complete bool) {
	t.Helper()
	for {
		f, err := store.Search(context.Background(), q)
		if err != nil {
			t.Fatalf("search %+v: %v", q, err)
		}
		for _, h := range f.Hits {
			hits = append(hits, fmt.Sprintf("%s/%d", h.Message.RoomID, h.Message.Seq))
		}
		if q.Cursor = f.Next; q.Cursor == "" {
			return hits, f.Complete
		}
	}
}

func wantFound(t *testing.T, store searcher, q history.SearchQuery, want ...string) {
	t.Helper()
	if got, _ := found(t, store, q); !slices.Equal(got, want) {
		t.Errorf("search %+v: got %q, want %q", q, got, want)
	}
}

// eventuallyFound waits until a query has these results, in any order.
func eventuallyFound(t *testing.T, store searcher, q history.SearchQuery, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(10*time.Millisecond + time.Since(start)/10) {
		var complete bool
		got, complete = found(t, store, q)
		if slices.Sort(got); complete && slices.Equal(got, want) {
			return
		}
	}
	t.Errorf("search %+v: got %q, want %q", q, got, want)
}

func testSearchRoom(t *testing.T, store searcher) {
	mustAppend(t, store,
		says("a", "ann", "Where is my parcel?"),
		history.Draft{RoomID: "a", UserID: "ann", OperatorID: "op", Message: []byte(`{"parcel":"it is on its way","n":7}`)},
		history.Draft{RoomID: "a", UserID: "ann", Message: []byte(`["The PARCELS",{"x":"are lost"}]`)},
		says("b", "ann", "another parcel"))
	wantFound(t, store, history.SearchQuery{Text: "parcel", Rooms: []string{"a"}}, "a/3", "a/1")
	wantFound(t, store, history.SearchQuery{Text: "parcel is", Rooms: []string{"a"}}, "a/1")
	wantFound(t, store, history.SearchQuery{Text: "way", Rooms: []string{"a"}, OperatorID: "op"}, "a/2")
	wantFound(t, store, history.SearchQuery{Text: "parcel", Rooms: []string{"a"}, OperatorID: "op"})
	wantFound(t, store, history.SearchQuery{Text: "parcel", Rooms: []string{"b", "nobody's"}}, "b/1")
	wantFound(t, store, history.SearchQuery{Text: "parcel", Rooms: []string{}})
	wantFound(t, store, history.SearchQuery{Text: "parcel", Rooms: []string{"a"}, UserID: "ann"}) // not a conversation
	f, err := store.Search(context.Background(), history.SearchQuery{Text: "parcel", Rooms: []string{"b"}})
	if err != nil || len(f.Hits) != 1 || !f.Complete || f.Hits[0].Excerpt != "another parcel" || fmt.Sprint(f.Hits[0].Marks) != "[[8 14]]" {
		t.Errorf("got %+v, %v", f, err)
	}
}

func testSearchWords(t *testing.T, store searcher) {
	mustAppend(t, store, says("a", "ann", "Crème brûlée für Zoë"), says("a", "ann", `he said "OR" NEAR(x) -not *`), says("a", "ann", "ПРИВЕТ"))
	q := func(text string) history.SearchQuery { return history.SearchQuery{Text: text, Rooms: []string{"a"}} }
	wantFound(t, store, q("creme BRULEE"), "a/1")
	wantFound(t, store, q("zoe fur"), "a/1")
	wantFound(t, store, q("brul"), "a/1")
	wantFound(t, store, q("brul creme")) // only the last may be a beginning
	wantFound(t, store, q("привет"), "a/3")
	for _, syntax := range []string{`"OR" near`, `said AND`, `NEAR(x)`, `text:said`, `-not`, `^he`, `said" OR "x`, "he'"} {
		hits, _ := found(t, store, q(syntax))
		if len(hits) > 1 || len(hits) == 1 && hits[0] != "a/2" {
			t.Errorf("%s: %q", syntax, hits)
		}
	}
}

func testSearchPages(t *testing.T, store searcher) {
	var drafts []history.Draft
	var want []string
	for i := range 2500 { // more than the store looks at for a page
		text := "straw"
		if i%100 == 0 {
			text = "needle"
			want = append(want, fmt.Sprint("a/", i+1))
		}
		drafts = append(drafts, says("a", "ann", text))
	}
	slices.Reverse(want)
	mustAppend(t, store, drafts...)
	for _, limit := range []int{1, 7, 500} {
		wantFound(t, store, history.SearchQuery{Text: "needle", Rooms: []string{"a"}, Limit: limit}, want...)
	}
	wantFound(t, store, history.SearchQuery{Text: "nothing", Rooms: []string{"a"}})
}

func testSearchNotes(t *testing.T, store searcher) {
	notes := history.NotesRoom("a")
	mustAppend(t, store, says("a", "ann", "gold"), says(notes, "op", "gold too"), says("b", "ann", "gold"))
	wantFound(t, store, history.SearchQuery{Text: "gold", Rooms: []string{"a"}}, "a/1")
	wantFound(t, store, history.SearchQuery{Text: "gold", Rooms: []string{notes}})
	wantFound(t, store, history.SearchQuery{Text: "gold too", Rooms: []string{"a"}, Notes: true}, notes+"/1")
	if hits, _ := found(t, store, history.SearchQuery{Text: "gold", Rooms: []string{"a"}, Notes: true}); len(hits) != 2 {
		t.Errorf("with notes %q", hits)
	}
}

func testSearchTimes(t *testing.T, store searcher) {
	first := mustAppend(t, store, says("a", "ann", "x"))[0]
	nextMilli(first)
	second := mustAppend(t, store, says("a", "ann", "x"))[0]
	nextMilli(second)
	mustAppend(t, store, says("a", "ann", "x"))
	q := history.SearchQuery{Text: "x", Rooms: []string{"a"}, Since: second.Timestamp.Time}
	wantFound(t, store, q, "a/3", "a/2")
	q.Until = second.Timestamp.Add(time.Millisecond)
	wantFound(t, store, q, "a/2")
	q.Since = time.Time{}
	wantFound(t, store, q, "a/2", "a/1")
}

func testSearchRefused(t *testing.T, store searcher) {
	mustAppend(t, store, says("a", "ann", "x"))
	for what, q := range map[string]history.SearchQuery{
		"no text":      {Rooms: []string{"a"}},
		"no word":      {Text: "?! *", Rooms: []string{"a"}},
		"long text":    {Text: strings.Repeat("x", history.MaxSearch+1), Rooms: []string{"a"}},
		"a bad cursor": {Text: "x", Rooms: []string{"a"}, Cursor: "?"},
	} {
		if _, err := store.Search(context.Background(), q); history.Code(err) != history.ErrBadPage.Code {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := store.Search(ctx, history.SearchQuery{Text: "x", Rooms: []string{"a"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	store.Close()
	if _, err := store.Search(context.Background(), history.SearchQuery{Text: "x", Rooms: []string{"a"}}); !errors.Is(err, history.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func testSearchAll(t *testing.T, store searcher) {
	notes := history.NotesRoom("a")
	mustAppend(t, store, says("a", "ann", "Die Lieferung fehlt"), says("b", "bob", "lieferung da"), says(notes, "op", "Lieferung verloren"),
		history.Draft{RoomID: "b", UserID: "bob", OperatorID: "op", Message: []byte(`"gute LIEFERUNG"`)})
	eventuallyFound(t, store, history.SearchQuery{Text: "lieferung"}, "a/1", "b/1", "b/2")
	eventuallyFound(t, store, history.SearchQuery{Text: "liefer", Notes: true}, "a/1", "b/1", "b/2", notes+"/1")
	eventuallyFound(t, store, history.SearchQuery{Text: "lieferung", OperatorID: "op"}, "b/2")
	eventuallyFound(t, store, history.SearchQuery{Text: `lieferung" OR "x`})
	eventuallyFound(t, store, history.SearchQuery{Text: "lieferung", Until: time.Now().Add(-time.Hour)})
	eventuallyFound(t, store, history.SearchQuery{Text: "lieferung fehlt", Since: time.Now().Add(-time.Hour)}, "a/1")
}

// What changes is found as it is now.
func testSearchFollowing(t *testing.T, store searcher) {
	mustAppend(t, store, says("a", "ann", "apple"), says("a", "ann", "apple pie"), says("b", "ann", "apple"))
	eventuallyFound(t, store, history.SearchQuery{Text: "apple"}, "a/1", "a/2", "b/1")
	if e, ok := store.(history.Editor); ok {
		for seq, content := range []json.RawMessage{1: []byte(`"pear"`), 2: nil} {
			if seq == 0 {
				continue
			}
			if _, err := e.Edit(context.Background(), history.Edit{RoomID: "a", Seq: int64(seq), Message: content}); err != nil {
				t.Fatal(err)
			}
		}
		eventuallyFound(t, store, history.SearchQuery{Text: "apple"}, "b/1")
		eventuallyFound(t, store, history.SearchQuery{Text: "pear"}, "a/1")
	}
	if p, ok := store.(history.Pruner); ok {
		nextMilli(mustHistory(t, store, "b", history.Page{}).Messages[0])
		prune(t, p, history.PruneRule{Before: time.Now()})
		eventuallyFound(t, store, history.SearchQuery{Text: "apple"})
		eventuallyFound(t, store, history.SearchQuery{Text: "pear"})
	}
	mustAppend(t, store, says("b", "ann", "apple again"))
	eventuallyFound(t, store, history.SearchQuery{Text: "apple"}, "b/2")
}

func testSearchAllPages(t *testing.T, store searcher) {
	var drafts []history.Draft
	var want []string
	for i := range 3000 {
		room := fmt.Sprint("r", i%150)
		text := "common word"
		if i%50 == 0 {
			text = "common needle"
			want = append(want, fmt.Sprintf("%s/%d", room, i/150+1))
		}
		drafts = append(drafts, says(room, "ann", text))
	}
	mustAppend(t, store, drafts...)
	for _, limit := range []int{7, 500} {
		eventuallyFound(t, store, history.SearchQuery{Text: "common needle", Limit: limit}, want...)
		eventuallyFound(t, store, history.SearchQuery{Text: "common needle", Rooms: []string{"r0", "r100"}, Limit: limit},
			slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !strings.HasPrefix(s, "r0/") && !strings.HasPrefix(s, "r100/") })...)
	}
	if hits, _ := found(t, store, history.SearchQuery{Text: "common"}); len(hits) != 3000 {
		t.Errorf("%d of 3000 messages", len(hits))
	}
}
