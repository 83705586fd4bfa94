package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// eventually waits until f reports true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

func oneReader(t *testing.T) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(t.TempDir(), "history.db"), &sqlite.Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	put(t, s, "a", 3)
	return s
}

// However many reads the connections of one address have waiting, a client from elsewhere is next.
func TestReadsTakeTurns(t *testing.T) {
	s := oneReader(t)
	const hostile, each = 100, 3
	release := s.HoldReader()
	var order []string // written by whoever has the only reader
	var reads sync.WaitGroup
	read := func(address, id string) {
		waiting := s.Waiting()
		reads.Go(func() {
			ctx := history.WithClient(t.Context(), history.Client{Address: address, ID: id})
			if err := s.Read(ctx, func() { order = append(order, address) }); err != nil {
				t.Errorf("%s %s: %v", address, id, err)
			}
		})
		eventually(t, "the read waits", func() bool { return s.Waiting() > waiting })
	}
	for range each {
		for i := range hostile {
			read("hostile", fmt.Sprint(i))
		}
	}
	read("good", "1")
	release()
	reads.Wait()
	if at := slices.Index(order, "good"); at != 1 || len(order) != hostile*each+1 {
		t.Errorf("the good client was number %d of %d", at+1, len(order))
	}
}

// While others wait, pages are small. They say that there is more, so nothing is lost.
func TestCrowdedPages(t *testing.T) {
	s := oneReader(t)
	var drafts []history.Draft
	for range 50 {
		drafts = append(drafts, history.Draft{RoomID: "large", UserID: "u", Message: []byte(`"` + strings.Repeat("x", 10_000) + `"`)})
	}
	if _, err := s.Append(t.Context(), drafts); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() (history.Slice, error){
		"history": func() (history.Slice, error) {
			return s.History(history.WithClient(t.Context(), history.Client{ID: "1"}), "large", history.Page{After: -1})
		},
		"changes": func() (history.Slice, error) {
			return s.Changes(history.WithClient(t.Context(), history.Client{ID: "1"}), "large", 0, history.Limit{})
		},
	} {
		release := s.HoldReader()
		pages := make(chan history.Slice, 2)
		for waiting := range 2 {
			go func() {
				slice, err := read()
				if err != nil {
					t.Error(err)
				}
				pages <- slice
			}()
			eventually(t, "it waits", func() bool { return s.Waiting() == waiting+1 })
		}
		release()
		small, large := <-pages, <-pages
		if len(small.Messages) > len(large.Messages) { // as they ended, not as they were read
			small, large = large, small
		}
		if n := len(small.Messages); n != 12 || !small.MoreAfter || small.Messages[n-1].Seq != 12 || name == "changes" && small.UpTo != 12 {
			t.Errorf("%s: %d messages up to %d while another one waits, more %v", name, n, small.UpTo, small.MoreAfter)
		}
		if n := len(large.Messages); n != 50 || large.MoreAfter {
			t.Errorf("%s: %d messages when nobody waits, more %v", name, n, large.MoreAfter)
		}
	}
}

// A client that has too many reads waiting is refused. Others are not.
func TestTooManyReads(t *testing.T) {
	s := oneReader(t)
	release := s.HoldReader()
	ctx, cancel := context.WithCancel(history.WithClient(t.Context(), history.Client{Address: "hostile", ID: "1"}))
	defer cancel()
	const limit = 64
	ended := make(chan error, limit+1)
	for range limit + 1 {
		go func() { _, err := s.Heads(ctx, []string{"a"}); ended <- err }()
	}
	if err := <-ended; !errors.Is(err, history.ErrBusy) {
		t.Errorf("the one too many: %v", err)
	}
	eventually(t, "they wait", func() bool { return s.Waiting() == limit })
	other := make(chan error, 1)
	go func() {
		_, err := s.Heads(history.WithClient(t.Context(), history.Client{Address: "hostile", ID: "2"}), []string{"a"})
		other <- err
	}()
	eventually(t, "the other one waits", func() bool { return s.Waiting() == limit+1 })
	cancel()
	for range limit {
		if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(err, history.ErrBusy) {
			t.Errorf("given up: %v", err)
		}
	}
	if n := s.Waiting(); n != 1 {
		t.Errorf("%d wait after all but one have given up", n)
	}
	release()
	if err := <-other; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// A read that is given up ends at once, wherever it is. It leaves no transaction, which would keep
// the write-ahead log from shrinking, and its connection serves the next read.
func TestInterruptedRead(t *testing.T) {
	s := oneReader(t)
	if _, err := s.History(t.Context(), "a", history.Page{}); err != nil {
		t.Fatal(err)
	}
	if err := s.ExecWriter("PRAGMA busy_timeout = 0"); err != nil { // a checkpoint fails at once
		t.Fatal(err)
	}
	before := s.Readers()
	for _, found := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		reading, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- s.ReadForever(ctx, found, reading) }()
		<-reading
		put(t, s, fmt.Sprint("room ", found), 3)
		if err := s.Checkpoint(); err == nil {
			t.Error("the log was emptied while somebody reads: the test proves nothing")
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("rows found %v: %v", found, err)
		}
		if err := s.Checkpoint(); err != nil {
			t.Errorf("rows found %v: the log cannot be emptied: %v", found, err)
		}
		slice, err := s.History(t.Context(), "a", history.Page{})
		if err != nil || len(slice.Messages) != 3 {
			t.Errorf("rows found %v: the next read: %d messages, %v", found, len(slice.Messages), err)
		}
		if after := s.Readers(); !slices.Equal(after, before) {
			t.Errorf("rows found %v: the connection was replaced", found)
		}
	}
}
