package historytest

import (
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

// testModel compares the store with one slice per room, under random calls.
func testModel(t *testing.T, store history.Store) {
	trial := 0
	rapid.Check(t, func(t *rapid.T) {
		trial++
		model := make(map[string][]history.Message)
		names := []string{fmt.Sprint("x", trial), fmt.Sprint("y", trial)}
		room := rapid.SampledFrom(names)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				drafts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) history.Draft {
					d := draft(room.Draw(t, "room"), rapid.IntRange(0, 2).Draw(t, "message"))
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
				all := model[room.Draw(t, "room")]
				head := int64(len(all))
				from, to := head, head
				switch rapid.SampledFrom([]string{"newest", "before", "after"}).Draw(t, "page") {
				case "before":
					p.Before = n
					to = min(n-1, head)
					from = to - fitting(p.Limit, slices.Backward(all[:to]))
				case "after":
					p.After = n
					from = min(n, head)
					to = from + fitting(p.Limit, slices.All(all[from:]))
				default:
					from = to - fitting(p.Limit, slices.Backward(all[:to]))
				}
				if head == 0 {
					return // the model does not know the room's name
				}
				s, err := store.History(context.Background(), all[0].RoomID, p)
				compareMessages(t, s, err, all[from:to], head)
			},
			"changes": func(t *rapid.T) {
				all := model[room.Draw(t, "room")]
				head := int64(len(all))
				if head == 0 {
					return
				}
				since := rapid.Int64Range(0, head).Draw(t, "since")
				limit := drawLimit(t)
				to := since + fitting(limit, slices.All(all[since:]))
				s, err := store.Changes(context.Background(), all[0].RoomID, since, limit)
				compareMessages(t, s, err, all[since:to], head)
				if s.UpTo != to {
					t.Fatalf("up to %d, want %d", s.UpTo, to)
				}
			},
		})
	})
}

func drawLimit(t *rapid.T) history.Limit {
	return history.Limit{Messages: rapid.IntRange(1, 20).Draw(t, "messages"), Bytes: rapid.IntRange(1, 5000).Draw(t, "bytes")}
}

// fitting returns how many of the messages a page may have.
func fitting(l history.Limit, messages iter.Seq2[int, history.Message]) (n int64) {
	bytes := 0
	for _, m := range messages {
		bytes += m.Size()
		if int(n) == l.Messages || n > 0 && bytes > l.Bytes {
			break
		}
		n++
	}
	return n
}

func compareAppended(t *rapid.T, model map[string][]history.Message, d history.Draft, got history.Appended) {
	var want string
	known := model[d.RoomID]
	switch original := find(known, d); {
	case d.UserID == "":
		want = history.ErrBadDraft.Code
	case original == nil:
		if got.Err == nil && (got.Dup || got.Message.Seq != int64(len(known)+1)) {
			t.Fatalf("%+v became %+v after %d messages", d, got, len(known))
		}
		model[d.RoomID] = append(known, got.Message)
	case string(original.Message) != string(d.Message):
		want = history.ErrKeyReuse.Code
	case !got.Dup || got.Message.ID != original.ID:
		t.Fatalf("replay of %+v: %+v", original, got)
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
		g, w := got.Messages[i], want[i]
		if g.ID != w.ID || g.Seq != w.Seq || string(g.Message) != string(w.Message) || g.ClientID != w.ClientID || !g.Timestamp.Equal(w.Timestamp.Time) {
			t.Fatalf("got %+v, want %+v", g, w)
		}
	}
}
