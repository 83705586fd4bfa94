package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

var (
	_ history.Editor = (*sqlite.Store)(nil)
	_ history.Reads  = (*sqlite.Store)(nil)
)

func edit(seq int64, n int) history.Edit {
	return history.Edit{RoomID: "a", Seq: seq, Message: fmt.Appendf(nil, "%d", 1000+n)}
}

// However many edits and marks wait, a batch of messages waits for the commit of one group of them.
func TestGroups(t *testing.T) {
	const waiting = 3*sqlite.MaxGroup + 1
	// In a bubble it is known when everybody waits.
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlite.Open(filepath.Join(t.TempDir(), "history.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		put(t, s, "a", 2)
		release := s.HoldWriter()
		var group sync.WaitGroup
		for n := range waiting {
			group.Go(func() {
				if _, err := s.Edit(context.Background(), edit(1, n)); err != nil {
					t.Errorf("edit: %v", err)
				}
			})
		}
		ctx, cancel := context.WithCancel(context.Background())
		group.Go(func() {
			_, err := s.Edit(ctx, edit(2, 0))
			if !errors.Is(err, context.Canceled) || !errors.Is(err, history.ErrUnavailable) {
				t.Errorf("cancelled: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		results := make(chan int64, 1)
		group.Go(func() {
			appended, err := s.Append(context.Background(), []history.Draft{{RoomID: "a", UserID: "ann", Message: []byte("3")}})
			if err != nil {
				t.Error(err)
				return
			}
			results <- appended[0].Message.Seq
		})
		synctest.Wait()
		release()
		group.Wait()
		if seq := <-results; seq > 2+sqlite.MaxGroup+1 {
			t.Errorf("a message that waited with %d edits has number %d", waiting, seq)
		}
		slice, err := s.History(context.Background(), "a", history.Page{})
		if err != nil || slice.Head != 2+waiting+1 || slice.Messages[1].Rev != 0 {
			t.Errorf("stored: %+v, %v", slice, err)
		}
	})
}

// One edit of a group that is refused does not affect the others, nor what they append.
func TestGroupRefusals(t *testing.T) {
	s := open(t).(*sqlite.Store)
	put(t, s, "a", 1)
	note := func(id, text string) *history.Draft {
		return &history.Draft{RoomID: "notes", OperatorID: "op", ClientID: id, Message: []byte(text)}
	}
	release := s.HoldWriter()
	var group sync.WaitGroup
	var made, refused atomic.Int64
	const each = 10
	for n := range each {
		for _, e := range []history.Edit{
			{RoomID: "a", Seq: 1, Message: fmt.Appendf(nil, "%d", 1000+n), Note: note("same", "1")},
			{RoomID: "a", Seq: 1, Message: fmt.Appendf(nil, "%d", 2000+n), Note: note(fmt.Sprint(n), "1")},
			{RoomID: "a", Seq: 1, Message: fmt.Appendf(nil, "%d", 3000+n), IfRev: 999, Note: note(fmt.Sprint("x", n), "1")},
			{RoomID: "none", Seq: 1, Message: []byte("1")},
		} {
			group.Go(func() {
				switch _, err := s.Edit(context.Background(), e); {
				case err == nil:
					made.Add(1)
				case errors.Is(err, history.ErrConflict), errors.Is(err, history.ErrNotFound):
					refused.Add(1)
				default:
					t.Errorf("edit: %v", err)
				}
			})
		}
	}
	release()
	group.Wait()
	heads, err := s.Heads(context.Background(), []string{"a", "notes", "none"})
	if err != nil || made.Load() != 2*each || refused.Load() != 2*each || len(heads) != 2 || heads["a"] != 1+2*each || heads["notes"] != each+1 {
		t.Errorf("%d made, %d refused, heads %v, %v", made.Load(), refused.Load(), heads, err)
	}
	put(t, s, "b", 2)
}
