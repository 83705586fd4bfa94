package historytest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// reads is a store that knows what members have read.
type reads interface {
	editor
	history.Reads
}

var markTests = []test[reads]{
	{"Marks", testMarks},
	{"Unread", testUnread},
	{"MarkRefused", testMarkRefused},
	{"MarkContention", testMarkContention},
}

var (
	ann  = history.Member{UserID: "ann"}
	bob  = history.Member{UserID: "bob"}
	anna = history.Member{OperatorID: "ann"} // an operator with the id of a user
)

func wantMarked(t *testing.T, what string, got history.Marked, err error, want history.Marked) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
	}
}

func testMarks(t *testing.T, store reads) {
	ctx := context.Background()
	before := time.Now().Truncate(time.Millisecond)
	for n := range 5 {
		mustAppend(t, store, draft("a", n), draft("b", n))
	}
	for _, step := range []struct {
		unread bool
		by     history.Member
		seq    int64
		want   history.Marked
	}{
		{false, bob, 2, history.Marked{Seq: 2, Unread: 3, Moved: true}},
		{false, bob, 2, history.Marked{Seq: 2, Unread: 3}},
		{false, bob, 1, history.Marked{Seq: 2, Unread: 3}}, // never back
		{false, bob, -7, history.Marked{Seq: 2, Unread: 3}},
		{false, bob, 4, history.Marked{Seq: 4, Unread: 1, Moved: true}},
		{false, bob, 1 << 60, history.Marked{Seq: 5, Moved: true}}, // not beyond the newest
		{true, bob, 6, history.Marked{Seq: 5}},                     // never forward
		{true, bob, 1 << 60, history.Marked{Seq: 5}},
		{true, bob, 4, history.Marked{Seq: 3, Unread: 2, Moved: true}},
		{true, bob, 4, history.Marked{Seq: 3, Unread: 2}},
		{false, anna, 3, history.Marked{Seq: 3, Unread: 2, Moved: true}},
		{true, bob, -1 << 63, history.Marked{Unread: 5, Moved: true}},
		{true, bob, 1, history.Marked{Unread: 5}},
		{false, bob, 0, history.Marked{Unread: 5}},
		{true, ann, 1, history.Marked{}}, // she wrote them all
		{false, bob, 3, history.Marked{Seq: 3, Unread: 2, Moved: true}},
		{false, anna, 4, history.Marked{Seq: 4, Unread: 1, Moved: true}},
	} {
		set, what := store.MarkRead, fmt.Sprintf("%+v reads %d", step.by, step.seq)
		if step.unread {
			set, what = store.MarkUnread, fmt.Sprintf("%+v has not read %d", step.by, step.seq)
		}
		got, err := set(ctx, "a", step.by, step.seq)
		wantMarked(t, what, got, err, step.want)
	}
	got, err := store.Marks(ctx, "a")
	if err != nil || len(got) != 2 || got[0].Member != anna || got[0].Seq != 4 || got[1].Member != bob || got[1].Seq != 3 {
		t.Fatalf("marks %+v, %v", got, err)
	}
	for _, m := range got {
		if m.At.Before(before) || m.At.After(time.Now()) {
			t.Errorf("set at %v, after %v", m.At, before)
		}
	}
	for _, room := range []string{"b", "none"} {
		if got, err := store.Marks(ctx, room); err != nil || got == nil || len(got) != 0 {
			t.Errorf("marks of %s: %+v, %v", room, got, err)
		}
	}
	// Marking does not make a room.
	m, err := store.MarkRead(ctx, "none", bob, 3)
	wantMarked(t, "a room that does not exist", m, err, history.Marked{})
	if heads, err := store.Heads(ctx, []string{"none"}); err != nil || len(heads) != 0 {
		t.Errorf("heads %v, %v", heads, err)
	}
}

// testUnread: others' messages that exist are counted, up to a limit.
func testUnread(t *testing.T, store reads) {
	ctx := context.Background()
	operator := draft("a", 0)
	operator.OperatorID = "ann"
	mustAppend(t, store, draft("a", 1), operator, draft("a", 3), operator, draft("a", 5), draft("b", 1))
	for by, want := range map[history.Member]int{ann: 2, anna: 3, bob: 5} {
		m, err := store.MarkRead(ctx, "a", by, 0)
		wantMarked(t, fmt.Sprintf("%+v", by), m, err, history.Marked{Unread: want})
	}
	// What was deleted needs no reading. What was edited counts where it stands, not once more.
	mustEdit(t, store, edit("a", 3, -1)) // 6
	mustEdit(t, store, edit("a", 1, 9))  // 7
	m, err := store.MarkRead(ctx, "a", bob, 2)
	wantMarked(t, "after a deletion", m, err, history.Marked{Seq: 2, Unread: 2, Moved: true})
	m, err = store.MarkRead(ctx, "a", bob, 99)
	wantMarked(t, "the newest number", m, err, history.Marked{Seq: 7, Moved: true})

	many := make([]history.Draft, history.MaxUnread+1)
	for i := range many {
		many[i] = draft("c", i)
	}
	mustAppend(t, store, many...)
	for seq, want := range map[int64]int{0: history.MaxUnread, 1: history.MaxUnread, 2: history.MaxUnread - 1} {
		by := history.Member{OperatorID: fmt.Sprint("op", seq)}
		m, err := store.MarkRead(ctx, "c", by, seq)
		wantMarked(t, "many", m, err, history.Marked{Seq: seq, Unread: want, Moved: seq > 0})
	}
}

func testMarkRefused(t *testing.T, store reads) {
	mustAppend(t, store, draft("a", 1))
	ctx := context.Background()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	long := strings.Repeat("x", history.MaxMemberID+1)
	for _, test := range []struct {
		why  string
		want error
		ctx  context.Context
		room string
		by   history.Member
	}{
		{"no room", history.ErrBadRoom, ctx, "", bob},
		{"nobody", history.ErrBadDraft, ctx, "a", history.Member{}},
		{"two", history.ErrBadDraft, ctx, "a", history.Member{UserID: "ann", OperatorID: "op"}},
		{"long user", history.ErrBadDraft, ctx, "a", history.Member{UserID: long}},
		{"long operator", history.ErrBadDraft, ctx, "a", history.Member{OperatorID: long}},
		{"cancelled", context.Canceled, cancelled, "a", bob},
	} {
		if _, err := store.MarkRead(test.ctx, test.room, test.by, 1); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.why, err, test.want)
		}
		if _, err := store.MarkUnread(test.ctx, test.room, test.by, 1); !errors.Is(err, test.want) {
			t.Errorf("%s, unread: error %v, want %v", test.why, err, test.want)
		}
	}
	if got, err := store.Marks(ctx, "a"); err != nil || len(got) != 0 {
		t.Errorf("marks %+v, %v", got, err)
	}
	store.Close()
	if _, err := store.MarkRead(ctx, "a", bob, 1); !errors.Is(err, history.ErrClosed) {
		t.Errorf("mark: error %v", err)
	}
	if _, err := store.Marks(ctx, "a"); !errors.Is(err, history.ErrClosed) {
		t.Errorf("marks: error %v", err)
	}
}

// testMarkContention: whatever the order, a mark ends at the largest number, and says so once for each
// step.
func testMarkContention(t *testing.T, store reads) {
	const n = 40
	for i := range n {
		mustAppend(t, store, draft("a", i))
	}
	var mu sync.Mutex
	moved := map[int64]int{}
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range n {
				seq := int64((i*7+w*11)%n + 1)
				m, err := store.MarkRead(context.Background(), "a", bob, seq)
				if err != nil || m.Seq < seq || m.Moved && m.Seq != seq {
					t.Errorf("read %d: %+v, %v", seq, m, err)
				}
				if m.Moved {
					mu.Lock()
					moved[m.Seq]++
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	if marks, err := store.Marks(context.Background(), "a"); err != nil || len(marks) != 1 || marks[0].Seq != n {
		t.Errorf("marks %+v, %v", marks, err)
	}
	for seq, times := range moved {
		if times != 1 {
			t.Errorf("moved to %d %d times", seq, times)
		}
	}
}
