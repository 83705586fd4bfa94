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

// SQLite does not notice what others do to its files. If somebody removes or replaces them, it goes
// on writing to files that nobody will read. It notices a full disk, but too late: the write-ahead
// log then cannot be moved into the database.
//
// So the store looks itself, before each commit and each watchEvery:
//
//	files moved   appends and reads fail (unavailable) until the same files are back
//	disk low      appends fail (full) until enough is free
//
// It looks again after the commit, because a message must not be acknowledged if its file has just
// been moved. A look takes about 5 µs, a commit some hundreds.

const (
	watchEvery = time.Second
	wipeEvery  = time.Minute

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

// moved returns ErrMoved, with the code unavailable, unless the store's files are in their places.
func (s *Store) moved() error {
	for _, f := range s.files {
		info, err := os.Stat(f.path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			err = fmt.Errorf("%w: %s is gone", ErrMoved, f.path)
		case err != nil:
			err = fmt.Errorf("%w: %w", ErrMoved, err)
		case !os.SameFile(info, f.info):
			err = fmt.Errorf("%w: %s is another file", ErrMoved, f.path)
		default:
			continue
		}
		return history.ErrUnavailable.Wrap("", err)
	}
	return nil
}

// space is the size of a file system, in bytes.
type space struct{ free, total int64 }

// spaceLeft returns the space of the store's file system. What the write-ahead log needs when it is
// moved into the database does not count as free.
func (s *Store) spaceLeft() (space, error) {
	left, err := s.space(filepath.Dir(s.path))
	if err != nil {
		return left, fmt.Errorf("parley: free space of history: %w", err)
	}
	if log, err := os.Stat(s.path + "-wal"); err == nil {
		left.free = max(0, left.free-log.Size())
	}
	return left, nil
}

// Free returns how many bytes can still be stored in the file system, MinFree included.
func (s *Store) Free() (int64, error) {
	left, err := s.spaceLeft()
	return left.free, err
}

// low returns ErrLow, with the code full, if the disk has too little room. After that it needs a
// quarter more, so that the store does not change its mind with every message.
func (s *Store) low(was bool) error {
	left, err := s.spaceLeft()
	if err != nil {
		return nil // unknown; SQLite notices when nothing is free
	}
	floor := s.opt.MinFree
	if floor == 0 {
		floor = min(defaultMinFree, left.total/defaultMinFreeShare)
	}
	need := floor
	if was {
		need += floor / 4
	}
	if left.free < need && !was && s.emptyLog() == nil {
		left, err = s.spaceLeft() // a log that was moved is kept, to be written again
	}
	if err == nil && left.free < need {
		return history.ErrFull.Wrap("", fmt.Errorf("%w: %d bytes are free, %d are kept", ErrLow, left.free, floor))
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
	if !errors.As(s.moved(), &now) {
		errors.As(s.low(was == ErrLow), &now)
	}
	s.looking.Lock()
	defer s.looking.Unlock()
	defer s.fault.Store(now) // after the log, so that it already explains what others see
	if kind(s.fault.Load()) == kind(now) {
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
//
// It does the same after records were changed, and messages were edited or pruned, so that the log keeps no
// earlier content: at the next tick at which nobody reads, but at most once in wipeEvery, because others
// wait for it.
func (s *Store) watch() {
	defer close(s.watched)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var wiped time.Time
	for {
		select {
		case <-s.closed:
			return
		case <-tick.C:
			if s.look() != nil {
				_ = s.emptyLog() // or at the next tick
			} else if time.Since(wiped) >= wipeEvery && s.residue.Load() && s.wipe() == nil {
				wiped = time.Now()
			}
		}
	}
}

// emptyLog moves the write-ahead log into the database. It waits only briefly for those who read.
func (s *Store) emptyLog() error {
	_, err := s.keeper.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// wipe moves the write-ahead log into the database and empties it, because it may contain what was
// deleted or replaced. It fails while somebody reads.
func (s *Store) wipe() error {
	s.residue.Store(false)
	var busy, log, moved int
	var err error
	for _, mode := range []string{"PASSIVE", "TRUNCATE"} { // the first one moves most of it while others write
		err = s.keeper.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &log, &moved)
	}
	if err == nil && busy != 0 {
		err = errReading
	}
	if err != nil {
		s.residue.Store(true)
	}
	return err
}
