package historytest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/history"
)

const (
	writers   = 4
	perWriter = 100
)

// write runs several goroutines that append single messages and batches to rooms. It calls read
// until they are done, and once more afterwards.
func write(t *testing.T, store history.Store, rooms []string, read func()) {
	t.Helper()
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for n := range perWriter {
				var drafts []history.Draft
				for _, room := range rooms {
					for range 1 + n%3 {
						drafts = append(drafts, draft(room, w*perWriter+n))
					}
				}
				results, err := store.Append(context.Background(), drafts)
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				// What Append has returned is visible at once.
				last := results[len(results)-1].Message
				s, err := store.History(context.Background(), last.RoomID, history.Page{Around: last.Seq, Limit: history.Limit{Messages: 1}})
				if err != nil || len(s.Messages) != 1 || s.Messages[0].ID != last.ID || s.Head < last.Seq {
					t.Errorf("read number %d after its append: %+v, %v", last.Seq, s, err)
					return
				}
			}
		})
	}
	defer writing.Wait()
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	for {
		select {
		case <-done:
			read()
			return
		default:
			read()
		}
	}
}

// testVisibility: if a number is visible, all smaller ones are too, and time never decreases.
func testVisibility(t *testing.T, store history.Store) {
	var pos int64
	var last history.Time
	write(t, store, []string{"a"}, func() {
		for {
			s, err := store.Changes(context.Background(), "a", pos, history.Limit{Messages: history.MaxLimit})
			if err != nil {
				t.Errorf("changes: %v", err)
				return
			}
			for _, m := range s.Messages {
				if m.Seq != pos+1 || m.Timestamp.Before(last.Time) {
					t.Fatalf("%d at %v follows %d at %v", m.Seq, m.Timestamp, pos, last)
				}
				pos, last = m.Seq, m.Timestamp
			}
			if s.UpTo != pos || s.Head < pos {
				t.Fatalf("at %d: up to %d, head %d", pos, s.UpTo, s.Head)
			}
			if s.UpTo == s.Head {
				return
			}
		}
	})
	if want := int64(writers * (perWriter + 99)); pos != want {
		t.Errorf("%d messages, want %d", pos, want)
	}
}

// testAtomicity: a batch that writes the same number of messages to two rooms is visible in both or
// in neither.
func testAtomicity(t *testing.T, store history.Store) {
	write(t, store, []string{"a", "b"}, func() {
		heads, err := store.Heads(context.Background(), []string{"a", "b"})
		if err != nil || heads["a"] != heads["b"] {
			t.Fatalf("heads %v, %v", heads, err)
		}
	})
}

// testContention: if many callers append the same message at once, it is stored once.
func testContention(t *testing.T, store history.Store) {
	for round := range 10 {
		d := draft("a", round)
		d.ClientID = fmt.Sprint("c", round)
		var stored atomic.Int32
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				results, err := store.Append(context.Background(), []history.Draft{d})
				if err != nil || results[0].Err != nil || results[0].Message.Seq != int64(round+1) {
					t.Errorf("got %+v, %v", results, err)
				} else if !results[0].Dup {
					stored.Add(1)
				}
			})
		}
		group.Wait()
		if n := stored.Load(); n != 1 {
			t.Fatalf("stored %d times", n)
		}
	}
}

// model is what a store must contain, by room.
type model map[string]*modelRoom

type modelRoom struct {
	messages []history.Message // in the order of seq
	head     int64
}

// at returns a room of the model, and makes it if necessary.
func (m model) at(name string) *modelRoom {
	if m[name] == nil {
		m[name] = new(modelRoom)
	}
	return m[name]
}

// changes returns the room's messages in the order of their last changes.
func (r *modelRoom) changes() []history.Message {
	return slices.SortedFunc(slices.Values(r.messages), func(a, b history.Message) int { return int(a.Number() - b.Number()) })
}

// split returns the messages before one with a number, and the rest.
func split(messages []history.Message, n int64, number func(*history.Message) int64) (before, rest []history.Message) {
	i := 0
	for i < len(messages) && number(&messages[i]) < n {
		i++
	}
	return messages[:i], messages[i:]
}

func seqOf(m *history.Message) int64 { return m.Seq }

// testModel compares the store with one slice per room, under random calls.
func testModel(t *testing.T, store history.Store) {
	trial := 0
	rapid.Check(t, func(t *rapid.T) {
		trial++
		model := make(model)
		room := rapid.SampledFrom([]string{fmt.Sprint("x", trial), fmt.Sprint("y", trial)})
		content := rapid.IntRange(0, 2)
		actions := map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				drafts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) history.Draft {
					d := draft(room.Draw(t, "room"), content.Draw(t, "message"))
					d.UserID = rapid.SampledFrom([]string{"ann", "bob", ""}).Draw(t, "user")
					d.ClientID = rapid.SampledFrom([]string{"", "1", "2", "3", "4", "5", "6"}).Draw(t, "client id")
					return d
				}), 1, 70).Draw(t, "drafts")
				results, err := store.Append(context.Background(), drafts)
				if err != nil {
					t.Fatal(err)
				}
				for i, d := range drafts {
					compareAppended(t, model, d, results[i])
				}
			},
			"history": func(t *rapid.T) {
				p := history.Page{Limit: drawLimit(t)}
				n := rapid.Int64Range(1, 200).Draw(t, "n")
				name := room.Draw(t, "room")
				older, newer := model.at(name).messages, []history.Message(nil)
				before, after := p.Limit, history.Limit{}
				switch rapid.SampledFrom([]string{"newest", "before", "after", "around"}).Draw(t, "page") {
				case "before":
					p.Before = n
					older, newer = split(older, n, seqOf)
				case "after":
					p.After = n
					older, newer = split(older, n+1, seqOf)
					before, after = after, p.Limit
				case "around":
					p.Around = n
					older, newer = split(older, n, seqOf)
					before, after = p.Limit.Halves()
				}
				from := len(older) - fitting(before, slices.Backward(older))
				to := fitting(after, slices.All(newer))
				s, err := store.History(context.Background(), name, p)
				compareMessages(t, s, err, slices.Concat(older[from:], newer[:to]), model.at(name).head)
				if s.MoreBefore != (from > 0) || s.MoreAfter != (to < len(newer)) {
					t.Fatalf("%+v: more %v %v, want %v %v", p, s.MoreBefore, s.MoreAfter, from > 0, to < len(newer))
				}
			},
			"changes": func(t *rapid.T) {
				name := room.Draw(t, "room")
				head := model.at(name).head
				since := rapid.Int64Range(0, head).Draw(t, "since")
				limit := drawLimit(t)
				_, want := split(model.at(name).changes(), since+1, (*history.Message).Number)
				to, upTo := fitting(limit, slices.All(want)), head
				if to < len(want) {
					upTo = want[to-1].Number()
				}
				s, err := store.Changes(context.Background(), name, since, limit)
				compareMessages(t, s, err, want[:to], head)
				if s.UpTo != upTo {
					t.Fatalf("up to %d, want %d", s.UpTo, upTo)
				}
			},
		}
		if store, ok := store.(history.Editor); ok {
			actions["edit"] = func(t *rapid.T) {
				e := edit(room.Draw(t, "room"), rapid.Int64Range(1, 100).Draw(t, "seq"), content.Draw(t, "message"))
				if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
					e.Message = nil
				}
				e.IfRev = rapid.SampledFrom([]int64{0, 0, e.Seq, model.at(e.RoomID).head}).Draw(t, "if")
				edited, err := store.Edit(context.Background(), e)
				compareEdited(t, model.at(e.RoomID), e, edited, err)
			}
		}
		t.Repeat(actions)
	})
}

// compareEdited checks the outcome of an edit, and makes it in the model.
func compareEdited(t *rapid.T, room *modelRoom, e history.Edit, got history.Edited, err error) {
	var m *history.Message
	if before, rest := split(room.messages, e.Seq, seqOf); len(rest) > 0 && rest[0].Seq == e.Seq {
		m = &room.messages[len(before)]
	}
	want, same := "", false
	switch {
	case m == nil:
		want = history.ErrNotFound.Code
	case m.Deleted == (e.Message == nil) && string(m.Message) == string(e.Message):
		same = true
	case m.Deleted, e.IfRev != 0 && e.IfRev != m.Number():
		want = history.ErrConflict.Code
	}
	if history.Code(err) != want || err == nil && got.Changed == same {
		t.Fatalf("%+v of %+v: %+v, %v; want code %q, the same %v", e, m, got, err, want, same)
	}
	if err != nil || same {
		return
	}
	room.head++
	m.Rev, m.Message, m.Deleted, m.EditedAt = room.head, e.Message, e.Message == nil, got.Message.EditedAt
	compareMessage(t, got.Message, *m)
}

func drawLimit(t *rapid.T) history.Limit {
	return history.Limit{Messages: rapid.IntRange(1, 20).Draw(t, "messages"), Bytes: rapid.IntRange(1, 5000).Draw(t, "bytes")}
}

// fitting returns how many of the messages a page may have.
func fitting(l history.Limit, messages iter.Seq2[int, history.Message]) (n int) {
	bytes := 0
	for _, m := range messages {
		bytes += m.Size()
		if n == l.Messages || n > 0 && bytes > l.Bytes {
			break
		}
		n++
	}
	return n
}

func compareAppended(t *rapid.T, model model, d history.Draft, got history.Appended) {
	var want string
	room := model.at(d.RoomID)
	switch original := find(room.messages, d); {
	case d.UserID == "":
		want = history.ErrBadDraft.Code
	case original == nil:
		room.head++
		if got.Err == nil && (got.Dup || got.Message.Seq != room.head) {
			t.Fatalf("%+v became %+v after number %d", d, got, room.head-1)
		}
		room.messages = append(room.messages, got.Message)
	case original.Rev == 0 && string(original.Message) != string(d.Message):
		want = history.ErrKeyReuse.Code
	case got.Err == nil:
		if !got.Dup {
			t.Fatalf("stored again: %+v", got)
		}
		compareMessage(t, got.Message, *original)
	}
	if history.Code(got.Err) != want {
		t.Fatalf("%+v: error %v, want code %q", d, got.Err, want)
	}
}

func find(messages []history.Message, d history.Draft) *history.Message {
	for i := range messages {
		if m := &messages[i]; d.ClientID != "" && m.ClientID == d.ClientID && m.UserID == d.UserID {
			return m
		}
	}
	return nil
}

func compareMessages(t *rapid.T, got history.Slice, err error, want []history.Message, head int64) {
	if err != nil || got.Head != head || len(got.Messages) != len(want) {
		t.Fatalf("%d messages, head %d, %v; want %d, head %d", len(got.Messages), got.Head, err, len(want), head)
	}
	for i := range want {
		compareMessage(t, got.Messages[i], want[i])
	}
}

func compareMessage(t *rapid.T, got, want history.Message) {
	if g, w := got.AppendJSON(nil), want.AppendJSON(nil); !bytes.Equal(g, w) {
		t.Fatalf("got %s, want %s", g, w)
	}
}
