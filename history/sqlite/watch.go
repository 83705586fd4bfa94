package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/parley-go/parley/history"
)

// What others do to the files of a running store, SQLite does not notice. If somebody removes or
// replaces them, it writes on to files that nobody will ever read again. And a disk on which
// nothing is free is too late a sign: then the write-ahead log cannot be moved into the database.
//
// So the store looks before each commit, after it, and each watchEvery:
//
//	files moved   appends and reads fail (unavailable) until the same files are back
//	disk low      appends fail (full) until enough is free
//
// After a commit it looks again, because a message in a file that has been moved must not be
// acknowledged. All of this takes a few microseconds, and a commit some hundreds.

const (
	watchEvery = time.Second

	// defaultMinFree is enough for what SQLite writes in between, but no more than a share of a small
	// file system.
	defaultMinFree      = 64 << 20
	defaultMinFreeShare = 20 // a twentieth of the file system
)

// file is a file that the store has open.
type file struct {
	path string
	info os.FileInfo
}

// suffixes are those of the store's files. Each must stay where it is: the database, its write-ahead
// log, the index of that, and the lock, without which another process could open the store.
var suffixes = []string{"", "-wal", "-shm", "-lock"}

// rememberFiles notes which files are open.
func (s *Store) rememberFiles() error {
	for _, suffix := range suffixes {
		f := file{path: s.path + suffix}
		var err error
		if f.info, err = os.Stat(f.path); err != nil {
			return err
		}
		os.SameFile(f.info, f.info) // Windows reads a file's identity only now
		s.files = append(s.files, f)
	}
	return nil
}

// moved returns nil if the store's files are in their places.
func (s *Store) moved() error {
	for _, f := range s.files {
		switch info, err := os.Stat(f.path); {
		case errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("%w: %s is gone", ErrMoved, f.path)
		case err != nil:
			return fmt.Errorf("%w: %w", ErrMoved, err)
		case !os.SameFile(info, f.info):
			return fmt.Errorf("%w: %s is another file", ErrMoved, f.path)
		}
	}
	return nil
}

// space is the size of a file system, in bytes.
type space struct{ free, total int64 }

// room returns the space of the store's file system. What the write-ahead log may need when it is
// moved into the database is not free.
func (s *Store) room() (space, error) {
	room, err := s.space(filepath.Dir(s.path))
	if err != nil {
		return room, fmt.Errorf("parley: free space of history: %w", err)
	}
	if log, err := os.Stat(s.path + "-wal"); err == nil {
		room.free = max(0, room.free-log.Size())
	}
	return room, nil
}

// Free returns how many bytes can still be stored in the file system, MinFree included.
func (s *Store) Free() (int64, error) {
	room, err := s.room()
	return room.free, err
}

// low returns nil if the disk has enough room. After it had too little, it needs a quarter more, so
// that the store does not change its mind with every message.
func (s *Store) low(was bool) error {
	room, err := s.room()
	if err != nil {
		return nil // unknown; SQLite notices when nothing is free
	}
	floor := s.opt.MinFree
	if floor == 0 {
		floor = min(defaultMinFree, room.total/defaultMinFreeShare)
	}
	need := floor
	if was {
		need += floor / 4
	}
	if room.free < need && !was && s.emptyLog() == nil {
		room, err = s.room() // the log is there to be written again, so it is seldom empty
	}
	if err == nil && room.free < need {
		return fmt.Errorf("%w: %d bytes are free, %d are kept", ErrLow, room.free, floor)
	}
	return nil
}

// Fault returns why the store cannot be used at the moment: an error with the code of
// [history.ErrUnavailable] if its files were moved, and of [history.ErrFull] if the disk has too
// little room, so that messages can only be read. It returns nil if the store works.
func (s *Store) Fault() error {
	if e := s.look(); e != nil {
		return e
	}
	return nil
}

// look finds out whether the store can be used, and logs when that changes.
func (s *Store) look() *history.Error {
	was := kind(s.fault.Load())
	var now *history.Error
	if err := s.moved(); err != nil {
		now = history.ErrUnavailable.Wrap("", err)
	} else if err := s.low(was == ErrLow); err != nil {
		now = history.ErrFull.Wrap("", err)
	}
	if was = kind(s.fault.Swap(now)); was == kind(now) {
		return now
	}
	switch kind(now) {
	case ErrMoved:
		s.log.Error("the store's files were removed or replaced: nothing is stored or read", "cause", now.Cause,
			"hint", "put the same files back; or stop the server, which still saves what it can, and start it again with what is at the path")
	case ErrLow:
		s.log.Error("the disk is nearly full: nothing is stored", "cause", now.Cause, "hint", "free space; the server needs no restart")
	default:
		s.log.Info("the store works again", "path", s.path)
	}
	return now
}

// kind returns ErrMoved, ErrLow or nil.
func kind(fault *history.Error) error {
	switch {
	case fault == nil:
		return nil
	case errors.Is(fault.Cause, ErrMoved):
		return ErrMoved
	}
	return ErrLow
}

// watch looks while nobody appends, until the store is closed.
//
// With a fault it moves the write-ahead log into the database: into the one that the store has open,
// wherever that is now. If the files were moved, what was acknowledged is there if that database
// comes back, and no other database at the path inherits the log. If the disk is low, the log gives
// back its space.
func (s *Store) watch() {
	defer close(s.watched)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-tick.C:
			if s.look() != nil {
				_ = s.emptyLog() // or at the next tick
			}
		}
	}
}

// emptyLog moves the write-ahead log into the database. It waits only briefly for those who read.
func (s *Store) emptyLog() error {
	_, err := s.keeper.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}
