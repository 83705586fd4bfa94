//go:build unix

package sqlite_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/soak"
)

// What may happen to the files of an open store. (On Windows nobody can do this to open files.)
var moves = map[string]struct {
	do   func(t *testing.T, dir, db string)
	undo func(t *testing.T, dir, db string) // nil: the same files cannot come back
}{
	"directory removed": {do: func(t *testing.T, dir, _ string) { must(t, os.RemoveAll(dir)) }},
	"directory renamed": {
		do:   func(t *testing.T, dir, _ string) { must(t, os.Rename(dir, dir+"-away")) },
		undo: func(t *testing.T, dir, _ string) { must(t, os.Rename(dir+"-away", dir)) },
	},
	"parent renamed": {
		do:   func(t *testing.T, dir, _ string) { must(t, os.Rename(filepath.Dir(dir), filepath.Dir(dir)+"-away")) },
		undo: func(t *testing.T, dir, _ string) { must(t, os.Rename(filepath.Dir(dir)+"-away", filepath.Dir(dir))) },
	},
	"directory replaced": {
		do: func(t *testing.T, dir, db string) {
			must(t, os.Rename(dir, dir+"-away"))
			other, err := sqlite.Open(db, nil)
			must(t, err)
			must(t, other.Close())
		},
		undo: func(t *testing.T, dir, _ string) { must(t, os.RemoveAll(dir), os.Rename(dir+"-away", dir)) },
	},
	"database removed": {do: func(t *testing.T, _, db string) { must(t, os.Remove(db)) }},
	"database renamed": {
		do:   func(t *testing.T, _, db string) { must(t, os.Rename(db, db+"-away")) },
		undo: func(t *testing.T, _, db string) { must(t, os.Rename(db+"-away", db)) },
	},
	"database made again": {do: func(t *testing.T, _, db string) { must(t, os.Remove(db), os.WriteFile(db, nil, 0o600)) }},
	"database replaced": {
		do: func(t *testing.T, _, db string) {
			must(t, os.Link(db, db+"-away"), os.WriteFile(db+"-new", nil, 0o600), os.Rename(db+"-new", db))
		},
		undo: func(t *testing.T, _, db string) { must(t, os.Rename(db+"-away", db)) },
	},
	"log removed":     {do: func(t *testing.T, _, db string) { must(t, os.Remove(db+"-wal")) }},
	"log made again":  {do: func(t *testing.T, _, db string) { must(t, os.Remove(db+"-wal"), os.WriteFile(db+"-wal", nil, 0o600)) }},
	"index removed":   {do: func(t *testing.T, _, db string) { must(t, os.Remove(db+"-shm")) }},
	"lock removed":    {do: func(t *testing.T, _, db string) { must(t, os.Remove(db+"-lock")) }},
	"lock made again": {do: func(t *testing.T, _, db string) { must(t, os.Remove(db+"-lock"), os.WriteFile(db+"-lock", nil, 0o600)) }},
}

// If the files of an open store are removed or replaced, nothing is acknowledged from then on, reads
// fail, and the log says so once. If the same files come back, the store goes on.
func TestFilesMoved(t *testing.T) {
	for name, move := range moves {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "parent", "data")
			db := filepath.Join(dir, "history.db")
			s, log := openRecorded(t, db, sqlite.Options{})
			put(t, s, "a", 3)
			move.do(t, dir, db)
			if err := tryPut(s, "new"); !errors.Is(err, history.ErrUnavailable) || !errors.Is(err, sqlite.ErrMoved) {
				t.Fatalf("appended: %v", err)
			}
			if err := s.Fault(); !errors.Is(err, history.ErrUnavailable) || !errors.Is(err, sqlite.ErrMoved) {
				t.Errorf("fault: %v", err)
			}
			if _, err := s.History(t.Context(), "a", history.Page{}); !errors.Is(err, history.ErrUnavailable) {
				t.Errorf("read: %v", err)
			}
			for range 3 {
				tryPut(s, "new")
			}
			if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[0], "removed or replaced") || !strings.Contains(lines[0], db) {
				t.Errorf("logged %q", lines)
			}
			if move.undo == nil {
				return
			}
			move.undo(t, dir, db)
			put(t, s, "a", 4) // the first three are repetitions
			if n := head(t, s, "a"); n != 4 {
				t.Errorf("head %d", n)
			}
			if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "works again") {
				t.Errorf("logged %q", lines)
			}
			must(t, s.Close(), sound(db))
		})
	}
}

// The store notices even if nobody appends.
func TestMovedWhileIdle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, log := openRecorded(t, filepath.Join(dir, "history.db"), sqlite.Options{})
	put(t, s, "a", 1)
	must(t, os.RemoveAll(dir))
	until(t, "reads fail", func() bool {
		_, err := s.Heads(t.Context(), []string{"a"})
		return errors.Is(err, sqlite.ErrMoved)
	})
	if lines := log.take(); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
}

// Whatever is acknowledged while files disappear was acknowledged before.
func TestMovedWhileAppending(t *testing.T) {
	for range soak.Times(3, 300) {
		dir := filepath.Join(t.TempDir(), "data")
		s, _ := openRecorded(t, filepath.Join(dir, "history.db"), sqlite.Options{})
		var gone, wrong atomic.Bool
		var appended atomic.Int64
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					late := gone.Load()
					err := tryPut(s, fmt.Sprint(n, i))
					if err == nil && late {
						wrong.Store(true)
					}
					if err != nil || late {
						return
					}
					appended.Add(1)
				}
			})
		}
		until(t, "messages are appended", func() bool { return appended.Load() > 20 })
		must(t, os.Rename(dir, dir+"-away"))
		gone.Store(true)
		wg.Wait()
		if wrong.Load() {
			t.Fatal("acknowledged after the files were gone")
		}
		// What was acknowledged moved with them.
		must(t, os.Rename(dir+"-away", dir))
		if n := head(t, s, "a"); n < appended.Load() {
			t.Fatalf("%d of %d acknowledged messages", n, appended.Load())
		}
		must(t, s.Close())
	}
}

// A store whose directory is gone does not harm the store that another process makes there.
func TestMovedStoreHarmsNobody(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "history.db")
	old, _ := openRecorded(t, path, sqlite.Options{})
	put(t, old, "a", 3)
	must(t, os.RemoveAll(dir))
	next := openAt(t, path)
	put(t, next, "b", 2)
	must(t, old.Close())
	put(t, next, "b", 3)
	must(t, next.Fault(), sound(path))
	must(t, next.Close())
	if next = openAt(t, path); head(t, next, "b") != 3 || head(t, next, "a") != 0 {
		t.Error("the new store has other messages")
	}
}

// While a store is open, nobody else can open it, even if the lock file has been removed.
func TestLockRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path)
	put(t, s, "a", 1)
	must(t, os.Remove(path+"-lock"))
	for range 3 {
		if _, err := sqlite.Open(path, nil); !errors.Is(err, sqlite.ErrInUse) {
			t.Fatalf("opened twice: %v", err)
		}
	}
	if _, _, err := sqlite.Restore(t.Context(), path, path); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("restored while the store is open: %v", err)
	}
	if _, err := sqlite.Open(path, nil); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("opened twice, after the restore: %v", err)
	}
	must(t, s.Close())
	if s = openAt(t, path); head(t, s, "a") != 1 {
		t.Error("the message is gone")
	}
}

// Messages that are still in the write-ahead log survive its removal.
func TestLogRemoved(t *testing.T) {
	for _, files := range [][]string{{"-wal"}, {"-wal", "-shm"}} {
		path := filepath.Join(t.TempDir(), "history.db")
		s, log := openRecorded(t, path, sqlite.Options{})
		put(t, s, "a", 3)
		for _, suffix := range files {
			must(t, os.Remove(path+suffix))
		}
		until(t, "the store notices", func() bool { return len(log.take()) > 0 })
		until(t, "the messages are in the database, even without Close", func() bool {
			copied := filepath.Join(t.TempDir(), "copy.db")
			content, err := os.ReadFile(path)
			must(t, err, os.WriteFile(copied, content, 0o600))
			c := openAt(t, copied)
			defer c.Close()
			return head(t, c, "a") == 3
		})
		must(t, s.Close(), sound(path))
		if s = openAt(t, path); head(t, s, "a") != 3 {
			t.Errorf("%q removed: %d messages left", files, head(t, s, "a"))
		}
	}
}

// A database that is put in another's place does not get the messages that are still in the
// write-ahead log. It cannot be backed up while the server runs, because the server does not use it.
func TestDatabaseReplaced(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "history.db"), filepath.Join(dir, "backup.db")
	s, log := openRecorded(t, path, sqlite.Options{})
	put(t, s, "a", 3)
	backup(t, path, file)
	put(t, s, "b", 30)
	must(t, os.Rename(file, path))
	until(t, "the store notices", func() bool { return len(log.take()) > 0 })
	until(t, "the log is empty", func() bool {
		info, err := os.Stat(path + "-wal")
		return err == nil && info.Size() == 0
	})
	if _, err := sqlite.Backup(t.Context(), path, file); !errors.Is(err, sqlite.ErrMoved) {
		t.Errorf("backed up: %v", err)
	}
	if _, err := sqlite.Open(path, nil); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	must(t, s.Close(), sound(path))
	if s = openAt(t, path); head(t, s, "a") != 3 || head(t, s, "b") != 0 {
		t.Errorf("heads %d and %d", head(t, s, "a"), head(t, s, "b"))
	}
	backup(t, path, file)
}
