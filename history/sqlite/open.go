package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/pruning"
	"github.com/parley-go/parley/history/internal/reading"
	"github.com/parley-go/parley/internal/turns"
)

// Options configure a Store.
type Options struct {
	// CacheBytes limits the pages that the writing connection keeps in memory. If zero, 64 MiB.
	// Each reader gets an eighth of it.
	CacheBytes int64
	// Readers limits how many history pages are read at the same time. If zero, the limit is 4 or
	// the number of processors, whichever is larger.
	Readers int
	// MinFree is how many bytes of the file system are kept free: with less, appends fail
	// (history.ErrFull). What is in the write-ahead log counts as used twice, because it will be
	// moved into the database. If zero, 64 MiB, but at most a twentieth of the file system. If
	// negative, nothing is kept free.
	MinFree int64
	// Search keeps an index of words beside the store, in path-search, so that Search finds messages
	// in all rooms. It costs about as much room as the messages. Without it, an index that was there
	// is removed.
	Search bool
	// Logger gets one line when the store cannot be used any more, and one when it can be again. If
	// nil, slog.Default().
	Logger *slog.Logger
}

// Store is a [history.Store] in one file. It is safe for concurrent use.
type Store struct {
	db    *sql.DB
	lock  *sql.DB
	opt   Options
	log   *slog.Logger
	path  string
	epoch string
	now   func() time.Time
	space func(dir string) (space, error)

	// keeper is a connection that is open as long as the store is, because SQLite removes the
	// write-ahead log with the last connection.
	keeper  *sql.Conn
	files   []file
	fault   atomic.Pointer[history.Error] // see look
	looking sync.Mutex                    // held while fault changes
	// residue says that the write-ahead log, or the database until the log is moved into it, may contain
	// what was deleted or replaced; see watch.
	residue atomic.Bool

	prunings pruning.Positions
	index    *index // nil: none

	maxKnown int // rooms that a writer remembers

	// writers has one token. The goroutine that has taken it owns the connection that writes. A nil
	// token stands for a connection that must be opened, initially or after an error.
	writers chan *writer
	groups  groups
	closed  chan struct{}
	news    chan struct{} // has a token after a commit that a follower may not have seen
	// readers lends the connections that read. A nil reader must be opened first.
	readers *turns.Queue[*reader]
	watched chan struct{} // closed when watch has ended
}

// walLimit is the size to which the write-ahead log shrinks when nobody needs more of it: twice the
// size that it reaches between two checkpoints.
const walLimit = 32 << 20

// Open opens the store in the file at path. It creates the file and its directory if they do not
// exist. The files path-wal, path-shm and path-lock are next to it. A nil opt means the defaults.
func Open(path string, opt *Options) (*Store, error) {
	s := &Store{
		now:      time.Now,
		maxKnown: 1 << 16, // about 10 MB
		space:    diskSpace,
		closed:   make(chan struct{}),
		watched:  make(chan struct{}),
		news:     make(chan struct{}, 1),
		writers:  make(chan *writer, 1),
	}
	if opt != nil {
		s.opt = *opt
	}
	if s.opt.CacheBytes <= 0 {
		s.opt.CacheBytes = 64 << 20
	}
	if s.opt.Readers <= 0 {
		s.opt.Readers = max(4, runtime.GOMAXPROCS(0))
	}
	s.readers = turns.New(reading.MaxWaiting, make([]*reader, s.opt.Readers)...)
	if s.log = s.opt.Logger; s.log == nil {
		s.log = slog.Default()
	}
	if err := s.open(path); err != nil {
		s.release()
		return nil, fmt.Errorf("parley: open history %s: %w", path, err)
	}
	if err := s.openIndex(context.Background()); err != nil {
		close(s.watched)
		s.Close()
		return nil, fmt.Errorf("parley: open the index of history %s: %w", path, err)
	}
	go s.watch()
	return s, nil
}

func (s *Store) open(path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	s.path = path
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if s.lock, err = lockStore(path); err != nil {
		return err
	}
	// Other users of the machine must not read people's messages. An existing file is not opened
	// here: closing it would release the locks that this process has on it.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		file.Close()
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		s.residue.Store(true) // of a process that was killed
	}
	// FULL: a commit is on the disk before Append returns. With NORMAL, a power cut loses
	// acknowledged messages.
	//
	// Between two checkpoints the log grows to 16 MB, so that a page changed by many commits is
	// copied to the table only once. The log is then overwritten, which is cheaper to synchronize
	// than a growing file. While another program reads, the log cannot be overwritten, and it
	// grows. Afterwards it shrinks to the size limit.
	//
	// Reading with mmap was measured and is not faster.
	s.db, err = sql.Open("sqlite", dataSource(path, url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)",
		"wal_autocheckpoint(4000)", fmt.Sprintf("journal_size_limit(%d)", walLimit), "temp_store(MEMORY)"}}))
	if err != nil {
		return err
	}
	s.db.SetMaxIdleConns(0) // their owners keep them; a closed one is gone

	ctx := context.Background()
	if s.keeper, err = s.db.Conn(ctx); err != nil {
		return err
	}
	conn := s.keeper
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system does not allow a write-ahead log (journal mode %q)", mode)
	}
	if err := migrate(ctx, conn, s.now()); err != nil {
		return err
	}
	if s.epoch, err = readEpoch(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 100"); err != nil { // see emptyLog
		return err
	}
	if err := s.rememberFiles(); err != nil {
		return err
	}
	w, err := s.newWriter(ctx)
	if err != nil {
		return err
	}
	s.writers <- w
	return nil
}

// lockStore locks the store at path. If the lock file is missing although the store exists, somebody
// has removed it, maybe while a server uses the store. The locks on the store itself show that.
func lockStore(path string) (*sql.DB, error) {
	_, noLock := os.Stat(path + "-lock")
	lock, err := lockFile(path + "-lock")
	if err != nil || !errors.Is(noLock, os.ErrNotExist) {
		return lock, err
	}
	used, err := isOpen(path)
	if used {
		err = ErrInUse
	}
	if err != nil {
		os.Remove(path + "-lock") // the next process must see the same
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// lockFile takes a lock that is held until its result is closed or the process ends. It uses
// SQLite's own locks on an empty file that is never written, because they work on every platform.
func lockFile(path string) (*sql.DB, error) {
	for attempt := 1; ; attempt++ {
		lock, err := begin(path, nil)
		switch {
		case err == nil:
			return lock, nil
		case !isBusy(err):
			return nil, fmt.Errorf("lock: %w", err)
		case attempt == lockAttempts:
			return nil, ErrInUse
		}
		time.Sleep(lockEvery)
	}
}

// Another process that only looks whether the lock is held also holds it, for a moment.
const (
	lockAttempts = 5
	lockEvery    = 50 * time.Millisecond
)

// begin begins an exclusive transaction on a database of its own connection.
func begin(path string, query url.Values) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dataSource(path, query))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// isOpen reports whether anybody has the database at path open. With a write-ahead log, each
// connection keeps a lock on the database as long as it is open.
func isOpen(path string) (bool, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	db, err := begin(path, url.Values{"mode": {"rw"}, "_pragma": {"locking_mode(EXCLUSIVE)"}})
	if isBusy(err) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	return false, db.Close()
}

func dataSource(path string, query url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	return u.String()
}

func readEpoch(ctx context.Context, conn *sql.Conn) (epoch string, err error) {
	_, err = conn.ExecContext(ctx, `INSERT OR IGNORE INTO meta VALUES ('epoch', lower(hex(randomblob(10))))`)
	if err != nil {
		return "", err
	}
	err = conn.QueryRowContext(ctx, `SELECT v FROM meta WHERE k = 'epoch'`).Scan(&epoch)
	return epoch, err
}

// Epoch implements [history.Store].
func (s *Store) Epoch() string { return s.epoch }

// Sizes returns the sizes in bytes of the database and its write-ahead log on the disk.
func (s *Store) Sizes() (database, log int64, err error) {
	for _, file := range []struct {
		path string
		size *int64
	}{{s.path, &database}, {s.path + "-wal", &log}} {
		info, e := os.Stat(file.path)
		if e == nil {
			*file.size = info.Size()
		} else if err == nil {
			err = fmt.Errorf("parley: size of history: %w", e)
		}
	}
	return database, log, err
}

// Close implements [history.Store]. It moves the write-ahead log into the file.
func (s *Store) Close() error {
	w := <-s.writers
	select {
	case <-s.closed:
		s.writers <- w
		return nil
	default:
		close(s.closed)
	}
	s.index.close()
	for _, r := range s.readers.Close() {
		if r != nil {
			r.close()
		}
	}
	if w != nil {
		w.close()
	}
	<-s.watched
	err := s.emptyLog()
	if e := s.release(); err == nil {
		err = e
	}
	s.writers <- nil
	if err != nil {
		return fmt.Errorf("parley: close history: %w", err)
	}
	return nil
}

func (s *Store) release() error {
	var first error
	if s.keeper != nil {
		first = s.keeper.Close()
	}
	for _, db := range []*sql.DB{s.db, s.lock} {
		if db != nil {
			if err := db.Close(); first == nil {
				first = err
			}
		}
	}
	return first
}

// isClosed returns ErrClosed if the store is closed.
func (s *Store) isClosed() error {
	select {
	case <-s.closed:
		return history.ErrClosed
	default:
		return nil
	}
}
