package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// record is a log that a test can read.
type record struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(line)
}

// take returns the lines since the last call.
func (r *record) take() (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.lines.Reset()
	for line := range strings.Lines(r.lines.String()) {
		lines = append(lines, line)
	}
	return lines
}

func openRecorded(t *testing.T, path string, o sqlite.Options) (*sqlite.Store, *record) {
	t.Helper()
	r := new(record)
	o.Logger = slog.New(slog.NewTextHandler(r, nil))
	s, err := sqlite.Open(path, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, r
}

func tryPut(s *sqlite.Store, id string) error {
	_, err := s.Append(context.Background(), []history.Draft{{RoomID: "a", UserID: "ann", ClientID: id, Message: []byte("1")}})
	return err
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	// The longer it takes, the longer the pauses, because a check can be costly.
	for start := time.Now(); !ok(); time.Sleep(time.Millisecond + time.Since(start)/10) {
		if time.Since(start) > 10*time.Minute {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// With too little room on the disk, messages are refused and can be read. With enough, they are
// accepted again; the bounds differ, so that the store does not change its mind all the time.
func TestDiskLow(t *testing.T) {
	const floor = 100_000_000
	for _, c := range []struct {
		name            string
		minFree         int64
		low, not, again int64 // bytes free: refused; still refused; accepted again
	}{
		{"set", floor, floor - 1, floor * 5 / 4, floor*5/4 + 1<<20},
		{"default", 0, sqlite.DefaultMinFree - 1, sqlite.DefaultMinFree * 5 / 4, sqlite.DefaultMinFree*5/4 + 1<<20},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, log := openRecorded(t, filepath.Join(t.TempDir(), "history.db"), sqlite.Options{MinFree: c.minFree})
			var free atomic.Int64
			free.Store(c.again)
			s.SetSpace(free.Load)
			put(t, s, "a", 3)
			if err := s.Fault(); err != nil {
				t.Error(err)
			}
			free.Store(c.low)
			for range 3 {
				if err := tryPut(s, "new"); !errors.Is(err, history.ErrFull) || !errors.Is(err, sqlite.ErrLow) {
					t.Errorf("appended: %v", err)
				}
			}
			if n := head(t, s, "a"); n != 3 {
				t.Errorf("head %d", n)
			}
			if err := s.Fault(); !errors.Is(err, history.ErrFull) {
				t.Errorf("fault: %v", err)
			}
			free.Store(c.not - 1)
			if err := tryPut(s, "new"); !errors.Is(err, history.ErrFull) {
				t.Errorf("appended with little more than before: %v", err)
			}
			if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "nearly full") {
				t.Errorf("logged %q", lines)
			}
			free.Store(c.again)
			put(t, s, "a", 4)
			if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "works again") {
				t.Errorf("logged %q", lines)
			}
		})
	}
	s, _ := openRecorded(t, filepath.Join(t.TempDir(), "history.db"), sqlite.Options{MinFree: -1})
	s.SetSpace(func() int64 { return 0 })
	put(t, s, "a", 1)
}

// What is in the write-ahead log needs as much room again. So a large log is emptied before messages
// are refused because of it, and if a reader prevents that, they are refused.
func TestDiskLowBecauseOfLog(t *testing.T) {
	const floor = 4 << 10
	path := filepath.Join(t.TempDir(), "history.db")
	s, _ := openRecorded(t, path, sqlite.Options{MinFree: floor})
	log := func() int64 {
		_, log, err := s.Sizes()
		must(t, err)
		return log
	}
	put(t, s, "a", 100)
	size := log()
	if size == 0 {
		t.Fatal("the log is empty")
	}
	s.SetSpace(func() int64 { return floor + size - 1 })
	if free, err := s.Free(); err != nil || free != floor-1 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	put(t, s, "a", 101)
	if log() >= size {
		t.Errorf("the log has %d bytes, had %d", log(), size)
	}

	s.SetSpace(func() int64 { return 1 << 40 })
	put(t, s, "b", 100)
	release := s.HoldSnapshot(t)
	put(t, s, "b", 101)
	size = log()
	s.SetSpace(func() int64 { return floor + size - 1 })
	if err := tryPut(s, "new"); !errors.Is(err, history.ErrFull) {
		t.Errorf("appended: %v", err)
	}
	release()
	until(t, "the log is emptied and messages are accepted", func() bool { return tryPut(s, "new") == nil })
}

func TestDiskSpace(t *testing.T) {
	free, total, err := sqlite.DiskSpace(t.TempDir())
	if err != nil || free <= 0 || total < free {
		t.Errorf("%d of %d bytes are free, %v", free, total, err)
	}
}
