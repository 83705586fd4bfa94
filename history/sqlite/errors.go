package sqlite

import (
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Reasons why a file was not opened.
var (
	ErrInUse   = errors.New("the file is in use by another process")
	ErrNewer   = errors.New("the file belongs to a newer version of the program")
	ErrForeign = errors.New("the file is a database of another program")
	ErrNoStore = errors.New("there is no store")
)

// Reasons why a store cannot be used at the moment; see [Store.Fault].
var (
	ErrMoved = errors.New("the store's files are not in their places")
	ErrLow   = errors.New("the disk has too little room")
)

// errReading says that the write-ahead log is still needed.
var errReading = errors.New("somebody reads an earlier state of the store")

// isBusy reports whether another connection holds the lock.
func isBusy(err error) bool { return primaryCode(err) == sqlite3.SQLITE_BUSY }

// isFull reports whether the disk is full.
func isFull(err error) bool { return primaryCode(err) == sqlite3.SQLITE_FULL }

// isConstraint reports whether a row would have violated a constraint.
func isConstraint(err error) bool { return primaryCode(err) == sqlite3.SQLITE_CONSTRAINT }

// isDamage reports whether the file is broken or was never a database.
func isDamage(err error) bool {
	code := primaryCode(err)
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// primaryCode returns SQLite's result code without its extension, and 0 for other errors.
func primaryCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}
