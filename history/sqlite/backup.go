package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Backup copies the store at path into the file to, while other processes use the store. The copy
// shows a single moment: every append that returned before the call to Backup is in it.
//
// The copy is completed and verified before it gets its name. It replaces an existing file in one
// step. If Backup fails or is killed, the existing file stays. (A killed process leaves a hidden
// file with the suffix .part.) Only the file's owner may read it. The copy has no free pages, no
// write-ahead log and no epoch. Opening it creates a new epoch; see [Restore].
//
// Backup fails with [ErrMoved] if a server runs whose database is no longer the one at path.
//
// While Backup reads, the store's write-ahead log cannot be reused, so it grows by what is appended
// meanwhile.
func Backup(ctx context.Context, path, to string) (Report, error) {
	r, err := backUp(ctx, path, to)
	if err != nil {
		return r, fmt.Errorf("parley: back up %s: %w", path, err)
	}
	return r, nil
}

func backUp(ctx context.Context, path, to string) (r Report, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return r, err
	}
	to, err = filepath.Abs(to)
	if err != nil {
		return r, err
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
		if same(path+suffix, to) {
			return r, fmt.Errorf("%s belongs to the store: choose another file", to)
		}
	}
	if _, err := os.Stat(to + "-wal"); err == nil {
		// SQLite would replay it into the copy.
		return r, fmt.Errorf("%s-wal belongs to a database that %s was: remove both, or choose another file", to, to)
	}
	if err := inPlace(ctx, path); err != nil {
		return r, err
	}
	temp, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-*.part")
	if err != nil {
		return r, err
	}
	defer os.Remove(temp.Name()) // fails if the file has been renamed
	if err := temp.Close(); err != nil {
		return r, err
	}
	if r, err = copyStore(ctx, path, temp.Name(), "DELETE FROM meta WHERE k = 'epoch'"); err != nil {
		return r, err
	}
	return r, rename(temp.Name(), to)
}

// inPlace returns ErrMoved if a store is open whose database was replaced: its lock is held, but
// nobody has the database at path open. A store that is just being opened or closed looks the same
// for a moment. If that cannot be found out, it returns nil.
func inPlace(ctx context.Context, path string) error {
	for deadline := time.Now().Add(placeTimeout); isLocked(ctx, path+"-lock"); {
		if used, err := isOpen(path); used || err != nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: a server runs here, and has another database open", ErrMoved)
		}
		select {
		case <-time.After(lockEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

const placeTimeout = 2 * time.Second

// isLocked reports whether lockFile has locked the file at path.
func isLocked(ctx context.Context, path string) bool {
	return isBusy(withDatabase(ctx, path, func(conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 0; SELECT count(*) FROM sqlite_schema")
		return err
	}))
}

// Restore makes the store at path a copy of the store in the file from. That file can come from
// Backup or from SQLite's own backup, or it can be a store that was copied together with its
// write-ahead log. Restore fails with [ErrInUse] while another process has the store at path open.
//
// Restore takes back the numbers that messages got after the backup: the store will give them
// again, to other messages. So the store gets a new epoch, which tells clients that their positions
// are no longer valid.
//
// Restore verifies the copy before it replaces the store. It keeps the previous store and returns
// its new path, which is empty if there was none. If Restore fails or is killed, either the old
// store or the new one is in place.
func Restore(ctx context.Context, from, path string) (r Report, replaced string, err error) {
	if r, replaced, err = restore(ctx, from, path); err != nil {
		err = fmt.Errorf("parley: restore %s: %w", from, err)
	}
	return r, replaced, err
}

func restore(ctx context.Context, from, path string) (r Report, replaced string, err error) {
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return r, "", ErrNoStore // before anything is made at path
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return r, "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return r, "", err
	}
	lock, err := lockStore(path)
	if err != nil {
		return r, "", fmt.Errorf("%s: %w", path, err)
	}
	defer lock.Close()
	temp := path + "-restore" // we hold the lock, so an existing file is from a killed process
	defer os.Remove(temp)
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return r, "", err
	}
	if err := file.Close(); err != nil {
		return r, "", err
	}
	if r, err = copyStore(ctx, from, temp, newEpoch); err != nil {
		return r, "", err
	}
	if replaced, err = setAside(ctx, path); err != nil {
		return r, replaced, err
	}
	return r, replaced, rename(temp, path)
}

const newEpoch = `INSERT OR REPLACE INTO meta VALUES ('epoch', lower(hex(randomblob(10))))`

// copyStore copies the store at from into the empty file to, runs change on the copy, checks it,
// and returns the report. A damaged copy is an error.
func copyStore(ctx context.Context, from, to, change string) (r Report, err error) {
	if err := withStore(ctx, from, func(conn *sql.Conn) error {
		// A page-by-page copy would start again whenever another process commits.
		_, err := conn.ExecContext(ctx, "VACUUM INTO ?", to)
		return err
	}); err != nil {
		return r, err
	}
	defer os.Remove(to + "-journal")
	if err := withStore(ctx, to, func(conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, change); err != nil {
			return err
		}
		r, err = check(ctx, conn)
		return err
	}); err != nil {
		return r, fmt.Errorf("verify the copy: %w", err)
	}
	if r.Damaged {
		return r, fmt.Errorf("verify the copy: %w: %s", errDamaged, r.Findings[0])
	}
	return r, syncFile(to)
}

// setAside gives the store at path a second name. It leaves no write-ahead log at path, because
// SQLite would replay that into the next file there. The caller must hold the store's lock.
func setAside(ctx context.Context, path string) (replaced string, err error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", removeAll(path+"-wal", path+"-shm")
	}
	replaced = path + "-replaced-" + time.Now().UTC().Format("20060102T150405.000Z")
	err = withDatabase(ctx, path, func(conn *sql.Conn) error {
		// This moves the log into the file. It fails while anyone else has the file open.
		if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
			return err
		}
		var mode string
		return conn.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode)
	})
	switch {
	case isBusy(err):
		return "", ErrInUse
	case err != nil && !isDamage(err):
		return "", err
	case err != nil:
		// The log belongs to the damaged file and stays with it.
		if err := link(path+"-wal", replaced+"-wal"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if err := removeAll(path+"-wal", path+"-shm"); err != nil {
			return "", err
		}
	}
	return replaced, link(path, replaced)
}

// link gives a file a second name. If the file system does not support that, it renames the file.
func link(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	return os.Rename(from, to)
}

func removeAll(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// same reports whether two paths are the same file.
func same(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// rename gives a file its final name, which then survives a power cut.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
