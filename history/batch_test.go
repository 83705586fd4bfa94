package history_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
)

// observer records what is reported to it.
type observer struct {
	mu       sync.Mutex
	commits  []int
	took     []time.Duration
	failed   int
	repaired int
}

func (o *observer) Committed(messages int, took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commits, o.took = append(o.commits, messages), append(o.took, took)
	if err != nil {
		o.failed++
	}
}

func (o *observer) Repaired(messages int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.repaired += messages
}

// slowAppends returns a store whose commits take a second.
func slowAppends() *hooked {
	memory := history.NewMemory()
	return &hooked{Store: memory, hooks: hooks{append: func(d []history.Draft) ([]history.Appended, error) {
		time.Sleep(time.Second)
		return memory.Append(context.Background(), d)
	}}}
}

func TestBatcherGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen observer
		b := history.NewBatcher(slowAppends(), history.BatchLimits{Messages: 10}, &seen)
		start := time.Now()
		var senders sync.WaitGroup
		for i := range 25 {
			senders.Go(func() {
				if _, err := b.Append(context.Background(), draft("r", i)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		senders.Wait()
		// The first is committed at once. Those that arrived meanwhile follow, ten at a time.
		want := []int{1, 10, 10, 4}
		if len(seen.commits) != len(want) {
			t.Fatalf("commits of %v, want %v", seen.commits, want)
		}
		for i := range want {
			if seen.commits[i] != want[i] || seen.took[i] != time.Second {
				t.Errorf("commits of %v in %v, want %v", seen.commits, seen.took, want)
			}
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %v", took)
		}
		b.Close()
	})
}

func TestBatcherBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen observer
		b := history.NewBatcher(slowAppends(), history.BatchLimits{Bytes: 100}, &seen)
		var senders sync.WaitGroup
		for _, size := range []int{10, 60, 30, 60, 200, 10} {
			senders.Go(func() {
				d := draft("r", 0)
				d.Message = []byte(`"` + strings.Repeat("x", size-2) + `"`)
				if _, err := b.Append(context.Background(), d); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		senders.Wait()
		// 10, 60+30, 60, 200, 10
		if len(seen.commits) != 5 || seen.commits[1] != 2 {
			t.Errorf("commits of %v", seen.commits)
		}
		b.Close()
	})
}

func TestBatcherClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := history.NewBatcher(slowAppends(), history.BatchLimits{}, nil)
		var senders sync.WaitGroup
		for range 3 {
			senders.Go(func() {
				if r, err := b.Append(context.Background(), draft("r", 1)); err != nil || r.Message.Seq == 0 {
					t.Errorf("what waits when it closes: %+v, %v", r, err)
				}
			})
			synctest.Wait()
		}
		b.Close()
		senders.Wait()
		if _, err := b.Append(context.Background(), draft("r", 1)); !errors.Is(err, history.ErrClosed) {
			t.Errorf("append after close: %v", err)
		}
	})
}

func TestBatcherErrors(t *testing.T) {
	store := &hooked{Store: history.NewMemory(), hooks: hooks{append: func([]history.Draft) ([]history.Appended, error) {
		return nil, history.ErrUnavailable.Wrap("append", errDisk)
	}}}
	var seen observer
	b := history.NewBatcher(store, history.BatchLimits{}, &seen)
	defer b.Close()
	if _, err := b.Append(context.Background(), draft("r", 1)); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
	if _, err := b.Append(context.Background(), draft("", 1)); !errors.Is(err, history.ErrBadRoom) {
		t.Errorf("error %v", err)
	}
	told := make(chan error)
	if len(seen.commits) != 1 || seen.failed != 1 {
		t.Errorf("observed %v, %d failed", seen.commits, seen.failed)
	}
	b.AppendFunc(draft("r", 1), func(_ history.Appended, err error) { told <- err })
	if err := <-told; !errors.Is(err, errDisk) {
		t.Errorf("told of %v", err)
	}
	// The batcher works again when the store does.
	store.hook(hooks{})
	if _, err := b.Append(context.Background(), draft("r", 1)); err != nil {
		t.Error(err)
	}
}

func TestBatcherCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := slowAppends()
		b := history.NewBatcher(store, history.BatchLimits{}, nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, err := b.Append(ctx, draft("r", 1))
		if !errors.Is(err, history.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		b.Close()
		if heads, _ := store.Heads(context.Background(), []string{"r"}); heads["r"] != 1 {
			t.Error("the commit did not go on")
		}
	})
}

// The callbacks of AppendFunc run in order, after the commit and during the next one.
func TestBatcherAppendFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := slowAppends()
		b := history.NewBatcher(store, history.BatchLimits{Messages: 2}, nil)
		start := time.Now()
		var told []int64 // one goroutine at a time
		var last time.Duration
		for i := range 5 {
			err := b.AppendFunc(draft("r", i), func(r history.Appended, err error) {
				if heads, _ := store.Heads(context.Background(), []string{"r"}); err != nil || heads["r"] < r.Message.Seq {
					t.Errorf("told of %d when the room ends at %d: %v", r.Message.Seq, heads["r"], err)
				}
				told, last = append(told, r.Message.Seq), time.Since(start)
				time.Sleep(600 * time.Millisecond)
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		never := func(history.Appended, error) { t.Error("told of a draft that was refused") }
		if err := b.AppendFunc(draft("", 1), never); !errors.Is(err, history.ErrBadRoom) {
			t.Errorf("error %v", err)
		}
		b.Close()
		if !slices.Equal(told, []int64{1, 2, 3, 4, 5}) || last != 3800*time.Millisecond { // and not 4.8 s
			t.Errorf("told of %v, the last after %v", told, last)
		}
		if err := b.AppendFunc(draft("r", 1), never); !errors.Is(err, history.ErrClosed) {
			t.Errorf("append after close: %v", err)
		}
	})
}
