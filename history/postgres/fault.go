package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-go/parley/history"
)

// Calls find out that the database cannot be reached, and that it can be again. That it refuses changes, because
// its disk is full or because it is read-only after a failover, is less plain: reads go on, and a change may have
// been refused for another reason. So after such a change, whoever wants to know (Fault) lets the store try one.

// Reasons why a store cannot be used at the moment; see [Store.Fault].
var (
	ErrUnreachable = errors.New("the database cannot be reached")
	ErrUnwritable  = errors.New("the database refuses changes")
)

const (
	lookEvery   = time.Second
	lookTimeout = time.Second
)

// faults is what the store knows of the database. It is safe for concurrent use.
type faults struct {
	now     atomic.Pointer[history.Error] // its cause is one of the reasons above; nil: none
	suspect atomic.Bool                   // a change was refused: try one

	looking sync.Mutex // held during a look
	looked  time.Time  // when the last look ended
	setting sync.Mutex // held while now changes
}

// Fault returns why the database cannot be used at the moment, and nil if it can. The error wraps
// [ErrUnreachable] (nothing is stored or read), or [ErrUnwritable] (nothing is stored). Its code is that of
// [history.ErrFull] if the disk of the database is full, and else of [history.ErrUnavailable]. Fault asks the
// database, for a second at most, unless it has just done so.
func (s *Store) Fault() error {
	s.look()
	if e := s.faults.now.Load(); e != nil {
		return e
	}
	return nil
}

// look asks the database whether it can be used.
func (s *Store) look() {
	f := &s.faults
	f.looking.Lock()
	defer f.looking.Unlock()
	if time.Since(f.looked) < lookEvery || !s.begin() {
		return
	}
	defer s.calls.Done()
	defer func() { f.looked = time.Now() }()
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	for n := 1; ; n++ {
		err := s.try(ctx)
		switch {
		case err == nil:
			f.suspect.Store(false)
			s.setFault(nil)
		case ctx.Err() != nil: // perhaps it is only slow
		case answered(err):
			s.setFault(faultOf(ErrUnwritable, err))
		case n == 1:
			continue // the connection may have been old
		default:
			s.met(err)
		}
		return
	}
}

// tryQuery stores a message of a room that does not exist, so large and so random that the table needs more space.
const tryQuery = `INSERT INTO parley.messages (room, seq, timestamp, message)
	SELECT 0, 0, 0, string_agg(md5(random()::text), '') FROM generate_series(1, 512)`

// try finds out whether the database accepts changes. If there is a doubt, it makes one and takes it back.
func (s *Store) try(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if !s.faults.suspect.Load() {
		var readOnly bool
		if err := conn.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&readOnly); err != nil || !readOnly {
			return err
		}
		s.faults.suspect.Store(true)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, tryQuery)
	if e := tx.Rollback(ctx); err == nil {
		err = e
	}
	leave(ctx, conn.Conn(), err)
	return err
}

// leave closes a connection that has refused a change because it is read-only, so that the next one finds
// the server that accepts changes.
func leave(ctx context.Context, conn *pgx.Conn, err error) {
	if sqlState(err) == readOnly {
		conn.Close(ctx)
	}
}

// answered reports whether err is the answer to a statement, over a connection that goes on.
func answered(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Severity == "ERROR"
}

// met notes whether the database could be reached.
func (s *Store) met(err error) {
	if err != nil && !answered(err) {
		s.setFault(faultOf(ErrUnreachable, err))
	} else if reason(s.faults.now.Load()) == ErrUnreachable {
		s.setFault(nil)
	}
}

// refused notes that a change was not made. It may be the fault of what was asked for.
func (s *Store) refused(err error) {
	state := sqlState(err)
	if !answered(err) || state == queryCanceled || state == lockNotAvailable {
		return
	}
	switch state[:min(2, len(state))] {
	case "22", "23", "40": // data, constraints, and transactions that are in the way of each other
	default:
		s.faults.suspect.Store(true)
	}
}

// faultOf returns a fault for a reason.
func faultOf(reason, err error) *history.Error {
	code := history.ErrUnavailable
	if sqlState(err) == diskFull {
		code = history.ErrFull
	}
	return code.Wrap("", fmt.Errorf("%w: %w", reason, err))
}

// setFault notes a fault, or that there is none, and logs when that changes.
func (s *Store) setFault(now *history.Error) {
	f := &s.faults
	f.setting.Lock()
	defer f.setting.Unlock()
	was := reason(f.now.Load())
	defer f.now.Store(now) // after the log, so that it already explains what others see
	switch reason(now) {
	case was:
	case ErrUnreachable:
		s.log.Error("the database cannot be used: nothing is stored or read", "cause", now.Cause)
	case ErrUnwritable:
		s.log.Error("the database refuses changes: nothing is stored", "cause", now.Cause)
	default:
		s.log.Info("the database can be used again")
	}
}

// reason returns ErrUnreachable, ErrUnwritable or nil.
func reason(fault *history.Error) error {
	switch {
	case fault == nil:
		return nil
	case errors.Is(fault.Cause, ErrUnwritable):
		return ErrUnwritable
	}
	return ErrUnreachable
}
