package historytest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/parley-go/parley/history"
)

// changelog is a store whose changes can be followed.
type changelog interface {
	history.Store
	history.Changelog
}

var changelogTests = []test[changelog]{
	{"Follow", testFollow},
	{"Followers", testFollowers},
	{"FollowOrder", testFollowOrder},
	{"FollowClosed", testFollowClosed},
}

var changelogEditTests = []test[changelogEditor]{{"FollowEdits", testFollowEdits}}

// changelogEditor is a changelog of a store that can change messages.
type changelogEditor interface {
	changelog
	history.Editor
}

// testFollowEdits: an edit is a change of the message, its note another.
func testFollowEdits(t *testing.T, store changelogEditor) {
	mustAppend(t, store, draft("a", 1), draft("a", 2))
	p := mustFollow(t, store, "f")
	note := draft(history.NotesRoom("a"), 1)
	e := edit("a", 1, 7)
	e.Note = &note
	mustEdit(t, store, e)
	if repeated, err := store.Edit(context.Background(), edit("a", 1, 7)); err != nil || repeated.Changed {
		t.Errorf("repeated: %+v, %v", repeated, err)
	}
	e = edit("a", 2, -1)
	e.IfRev = 77
	if _, err := store.Edit(context.Background(), e); history.Code(err) != history.ErrConflict.Code {
		t.Errorf("a conflict: %v", err)
	}
	mustEdit(t, store, edit("a", 2, -1))
	got := brief(t, mustReadChanges(t, store, p, 10))
	want := []string{
		fmt.Sprintf("%d a 3 1", history.MessageChanged), added(note.RoomID, 1), fmt.Sprintf("%d a 4 2", history.MessageChanged),
	}
	slices.Sort(got[:min(2, len(got))]) // of one commit
	slices.Sort(want[:2])
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func mustFollow(t *testing.T, store changelog, name string) int64 {
	t.Helper()
	position, err := store.FollowChanges(context.Background(), name)
	if err != nil {
		t.Fatalf("follow as %s: %v", name, err)
	}
	return position
}

func mustReadChanges(t *testing.T, store changelog, after int64, limit int) []history.Change {
	t.Helper()
	changes, err := store.ReadChanges(context.Background(), after, limit)
	if err != nil {
		t.Fatalf("changes after %d: %v", after, err)
	}
	return changes
}

// brief describes changes, without their positions. The positions must ascend.
func brief(t *testing.T, changes []history.Change) (texts []string) {
	t.Helper()
	last := int64(0)
	for _, c := range changes {
		if c.Position <= last {
			t.Errorf("position %d after %d", c.Position, last)
		}
		last = c.Position
		texts = append(texts, fmt.Sprintf("%d %s %d %d", c.Kind, c.RoomID, c.Number, c.Seq))
	}
	return texts
}

func added(room string, seq int) string {
	return fmt.Sprintf("%d %s %d %d", history.MessageAdded, room, seq, seq)
}

func testFollow(t *testing.T, store changelog) {
	mustAppend(t, store, draft("a", 1)) // nobody follows
	p := mustFollow(t, store, "f")
	if changes := mustReadChanges(t, store, p, 10); len(changes) > 0 {
		t.Errorf("at first %+v", changes)
	}
	mustAppend(t, store, draft("b", 1), draft("a", 2))
	mustAppend(t, store, draft("a", 3))
	changes := mustReadChanges(t, store, p, 10)
	if got, want := brief(t, changes), []string{added("b", 1), added("a", 2), added("a", 3)}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if first := mustReadChanges(t, store, p, 2); !slices.Equal(first, changes[:2]) {
		t.Errorf("the first two are %+v", first)
	}
	if rest := mustReadChanges(t, store, changes[0].Position, 10); !slices.Equal(rest, changes[1:]) {
		t.Errorf("after the first %+v", rest)
	}
	d := draft("a", 4)
	d.ClientID = "c"
	mustAppend(t, store, d)
	if _, err := store.Append(context.Background(), []history.Draft{d}); err != nil { // a repetition
		t.Fatal(err)
	}
	if got := brief(t, mustReadChanges(t, store, changes[2].Position, 10)); !slices.Equal(got, []string{added("a", 4)}) {
		t.Errorf("a message that was repeated: %q", got)
	}
}

func testFollowers(t *testing.T, store changelog) {
	ctx := context.Background()
	mustFollow(t, store, "f")
	for i := range 3 {
		mustAppend(t, store, draft("a", i))
	}
	g := mustFollow(t, store, "g")
	mustAppend(t, store, draft("a", 3))
	all := mustReadChanges(t, store, 0, 10)
	if len(all) != 4 || g != all[2].Position {
		t.Fatalf("the second one begins at %d of %+v", g, all)
	}
	pass := func(name string, position int64) {
		t.Helper()
		if err := store.PassChanges(ctx, name, position); err != nil {
			t.Fatal(err)
		}
	}
	pass("g", all[3].Position)
	if changes := mustReadChanges(t, store, 0, 10); len(changes) != 4 {
		t.Errorf("one has passed, and left are %+v", changes)
	}
	pass("f", all[1].Position)
	if changes := mustReadChanges(t, store, 0, 10); !slices.Equal(changes, all[2:]) {
		t.Errorf("both have passed two, and left are %+v", changes)
	}
	pass("f", all[0].Position) // not back
	if p := mustFollow(t, store, "f"); p != all[1].Position {
		t.Errorf("the position is %d, want %d", p, all[1].Position)
	}
	pass("f", all[3].Position+100) // not further than there are changes
	if p := mustFollow(t, store, "f"); p != all[3].Position {
		t.Errorf("the position is %d, want %d", p, all[3].Position)
	}
	pass("nobody", all[3].Position)

	// A position is given once, also if all changes are gone.
	mustAppend(t, store, draft("a", 4))
	if changes := mustReadChanges(t, store, 0, 10); len(changes) != 1 || changes[0].Position <= all[3].Position {
		t.Errorf("after all have passed %+v", changes)
	}
	for _, name := range []string{"f", "g", "nobody"} {
		if err := store.Unfollow(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, store, draft("a", 5))
	if changes := mustReadChanges(t, store, 0, 10); len(changes) != 0 {
		t.Errorf("nobody follows, and there are %+v", changes)
	}
}

// A follower that reads while others append misses nothing, and can read what it was told of.
func testFollowOrder(t *testing.T, store changelog) {
	const rooms, each = 5, 60
	p := mustFollow(t, store, "f")
	var wg sync.WaitGroup
	for room := range rooms {
		for range 2 {
			wg.Go(func() {
				for n := range each / 2 {
					if _, err := store.Append(context.Background(), []history.Draft{draft(fmt.Sprint(room), n)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	defer wg.Wait()
	heads := make(map[string]int64)
	for n := 0; n < rooms*each; {
		for _, c := range mustReadChanges(t, store, p, 7) {
			if p >= c.Position || c.Number != heads[c.RoomID]+1 {
				t.Fatalf("%+v after position %d and number %d", c, p, heads[c.RoomID])
			}
			p, heads[c.RoomID] = c.Position, c.Number
			if s := mustHistory(t, store, c.RoomID, history.Page{Before: c.Seq + 1}); len(s.Messages) == 0 || s.Messages[len(s.Messages)-1].Seq != c.Seq {
				t.Fatalf("%+v cannot be read", c)
			}
			n++
		}
		if err := store.PassChanges(context.Background(), "f", p); err != nil {
			t.Fatal(err)
		}
	}
}

func testFollowClosed(t *testing.T, store changelog) {
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	_, follow := store.FollowChanges(ctx, "f")
	_, read := store.ReadChanges(ctx, 0, 1)
	for what, err := range map[string]error{"follow": follow, "read": read,
		"pass": store.PassChanges(ctx, "f", 1), "unfollow": store.Unfollow(ctx, "f")} {
		if history.Code(err) != history.ErrClosed.Code {
			t.Errorf("%s: %v", what, err)
		}
	}
}
