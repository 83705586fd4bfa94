package postgres

import (
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-go/parley/history"
)

// Reasons why a database was not opened.
var (
	ErrNewer   = errors.New("the database belongs to a newer version of the program")
	ErrForeign = errors.New("the schema parley of the database belongs to another program")
)

// sqlState returns the code of an error of the server, see "PostgreSQL Error Codes" in its manual, and ""
// for other errors.
func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Codes of errors.
const (
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014"
	diskFull             = "53100"
	readOnly             = "25006"
)

// isLost reports whether an error says that the server, or the connection, cannot be used at the moment,
// and not that there is something wrong with what it was asked.
func isLost(err error) bool {
	var e *pgconn.PgError
	var network net.Error
	switch {
	case err == nil:
		return false
	case errors.As(err, &e):
		switch class := e.Code[:min(2, len(e.Code))]; {
		case class == "08", class == "53", class == "58", e.Code == readOnly:
			return true
		case class == "57":
			return e.Code != queryCanceled
		}
		return e.Severity == "FATAL" || e.Severity == "PANIC"
	case errors.As(err, &network):
		return true
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || pgconn.SafeToRetry(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, pgconn.ErrConnClosed)
}

// refuses reports whether the server has refused a statement, so that the transaction is not committed. After
// another error of a commit, it may be.
func refuses(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Severity == "ERROR"
}

// unavailable returns the error of the store for one of the server.
func unavailable(doing string, err error) error {
	var known *history.Error
	switch {
	case errors.As(err, &known):
		return err
	case sqlState(err) == diskFull:
		return history.ErrFull.Wrap(doing, err)
	}
	return history.ErrUnavailable.Wrap(doing, err)
}
