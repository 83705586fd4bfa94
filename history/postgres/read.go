package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
	"github.com/parley-go/parley/history/internal/reading"
)

// columns are the columns of a message, in the order of scanMessage.
const columns = `m.room, m.seq, coalesce(m.user_id, ''), coalesce(m.operator_id, ''), m.message, m.timestamp,
	coalesce(m.client_id, ''), coalesce(m.rev, 0), coalesce(m.edited_at, 0), m.deleted`

// scanMessage reads columns, after others.
func scanMessage(row pgx.Row, name string, m *history.Message, others ...any) error {
	var room, timestamp, editedAt int64
	err := row.Scan(append(others, &room, &m.Seq, &m.UserID, &m.OperatorID, (*[]byte)(&m.Message), &timestamp,
		&m.ClientID, &m.Rev, &editedAt, &m.Deleted)...)
	m.ID, m.RoomID, m.Timestamp, m.EditedAt = cell.MessageID(room, m.Seq), name, history.TimeMilli(timestamp), cell.Time(editedAt)
	if m.Deleted {
		m.Message = nil
	}
	return err
}

// querier is a connection, or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// read calls f with a connection when it is the turn of ctx's client. f runs one statement, so that
// everything that it reads is from the same moment; see snapshot. If the connection is lost, f is called
// again, so it must begin anew.
func (s *Store) read(ctx context.Context, f func(context.Context, querier) error) error {
	return s.reading(ctx, func(conn *pgxpool.Conn) error { return f(ctx, conn) })
}

// snapshot is read for several statements.
func (s *Store) snapshot(ctx context.Context, f func(context.Context, querier) error) error {
	return s.reading(ctx, func(conn *pgxpool.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
			func(tx pgx.Tx) error { return f(ctx, tx) })
	})
}

func (s *Store) reading(ctx context.Context, f func(*pgxpool.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	turn, err := reading.Take(ctx, s.readers)
	if err != nil {
		return err
	}
	defer s.readers.Give(turn)
	err = s.persist(ctx, func() error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return lost{err}
		}
		defer conn.Release()
		if err = f(conn); conn.Conn().IsClosed() && ctx.Err() == nil {
			err = lost{err}
		}
		return err
	})
	switch state := sqlState(err); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("parley: read history: %w", ctx.Err())
	case state == queryCanceled, state == lockNotAvailable:
		return history.ErrBusy.Wrap("read history", err)
	case isLost(err):
		return history.ErrUnavailable.Wrap("read history", err)
	}
	var known *history.Error
	if errors.As(err, &known) {
		return err
	}
	return fmt.Errorf("parley: read history: %w", err)
}

// lost is an error that has cost the connection, or made it impossible to get one.
type lost struct{ error }

func (e lost) Unwrap() error { return e.error }

// persist calls f until it does not lose its connection, with growing pauses, for as long as Patience
// allows. It notes whether the database can be reached.
func (s *Store) persist(ctx context.Context, f func() error) error {
	const first, longest = 10 * time.Millisecond, time.Second
	began := time.Now()
	for pause := first; ; pause = min(2*pause, longest) {
		err := f()
		if ctx.Err() != nil {
			return err
		}
		if errors.Is(err, history.ErrUnknownOutcome) {
			return err // whoever asked for it knows whether it can be repeated
		}
		var e lost
		if !errors.As(err, &e) && !isLost(err) {
			s.met(nil)
			return err
		}
		if pause > first || s.opt.Patience <= 0 { // not only a connection that was old
			s.met(cmp.Or(e.error, err))
		}
		if time.Since(began)+pause > s.opt.Patience || s.isClosed() {
			if e.error != nil {
				err = history.ErrUnavailable.Wrap("reach the database", e.error)
			}
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// isClosed reports whether the store is closed, or about to be.
func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// one reads one row.
func (s *Store) one(ctx context.Context, query string, args []any, to ...any) error {
	return s.read(ctx, func(ctx context.Context, q querier) error { return q.QueryRow(ctx, query, args...).Scan(to...) })
}

// texts returns the rows of a query with one text column.
func texts(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Waiting returns the number of reads that wait for their turn.
func (s *Store) Waiting() int { return s.readers.Waiting() }

// A page is the room and up to two parts, in one statement. A part reads rows in the order of their
// numbers, and leaves out those that cannot fit into $4 bytes after the ones before them: the server does
// not even read their long texts. Message.Size is larger than the size here, and the first
// row always fits, so at least one row that does not fit comes with the others.
const (
	pageQuery = `SELECT r.id, r.head, r.floor, coalesce(m.part, 0), coalesce(m.room, 0), coalesce(m.seq, 0), coalesce(m.user_id, ''),
		coalesce(m.operator_id, ''), coalesce(m.message, ''), coalesce(m.timestamp, 0), coalesce(m.client_id, ''), coalesce(m.rev, 0),
		coalesce(m.edited_at, 0), coalesce(m.deleted, false)
		FROM parley.rooms r LEFT JOIN LATERAL (%s) m ON true WHERE r.room_id = $1`

	// partQuery has a condition, an order, two parameters, and a room.
	partQuery = `(SELECT %d AS part, * FROM (SELECT *, row_number() OVER w AS n, sum(200 + octet_length(message)) OVER w
		- 200 - octet_length(message) AS before FROM (SELECT m.* FROM parley.messages m WHERE m.room = %[6]s AND %[2]s
		ORDER BY %[3]s LIMIT $%[4]d) m WINDOW w AS (ORDER BY %[3]s ROWS UNBOUNDED PRECEDING)) m WHERE n <= 2 OR before <= $%[5]d::bigint)`

	existsQuery = `(SELECT %d AS part, m.*, 0::bigint, 0::bigint FROM parley.messages m WHERE m.room = r.id AND %s LIMIT 1)`
)

// part is a part of a page.
type part struct {
	messages []history.Message
	limit    history.Limit
	more     bool
	left     int64 // the number of the first message that does not fit, if there are more
}

// add adds a row, unless it does not fit.
func (p *part) add(m *history.Message) {
	switch {
	case p.more:
	case p.limit.Take(m):
		p.messages = append(p.messages, *m)
	default:
		p.more, p.left = true, m.Number()
	}
}

// Parts of pages that are only asked for their existence.
const (
	older = 1 + iota // in descending order
	newer
	anyBefore
	anyAfter
)

// pageQueries are those of History: the newest, before, after and around.
var pageQueries = func() (q struct{ newest, before, after, around, unchanged string }) {
	page := func(parts ...string) string {
		all := parts[0]
		for _, p := range parts[1:] {
			all += " UNION ALL " + p
		}
		return fmt.Sprintf(pageQuery, all)
	}
	before := fmt.Sprintf(partQuery, older, "m.seq < $2", "seq DESC", 3, 4, "r.id")
	q.newest = page(fmt.Sprintf(partQuery, older, "true", "seq DESC", 2, 3, "r.id"))
	q.before = page(before, fmt.Sprintf(existsQuery, anyAfter, "m.seq >= $2"))
	q.after = page(fmt.Sprintf(partQuery, newer, "m.seq > $2", "seq", 3, 4, "r.id"), fmt.Sprintf(existsQuery, anyBefore, "m.seq <= $2"))
	q.around = page(before, fmt.Sprintf(partQuery, newer, "m.seq >= $2", "seq", 5, 6, "r.id"))
	q.unchanged = page(fmt.Sprintf(partQuery, older, "m.seq > $2 AND m.rev IS NULL AND r.floor <= $2", "seq", 3, 4, "r.id"),
		fmt.Sprintf(partQuery, newer, "m.rev > $2 AND r.floor <= $2", "rev", 3, 4, "r.id"))
	return q
}()

// page runs a query of pageQueries. found says whether the room exists.
func (s *Store) page(ctx context.Context, room string, query string, parts map[int]*part, args ...any) (slice history.Slice, found bool, err error) {
	slice.Messages = []history.Message{}
	if err := history.CheckRoom(room); err != nil {
		return slice, false, err
	}
	fresh := make(map[int]part)
	for n, p := range parts {
		fresh[n] = *p
	}
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		for n, p := range parts {
			*p = fresh[n]
		}
		rows, err := q.Query(ctx, query, append([]any{room}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var m history.Message
			var id int64
			var n int
			if err := scanMessage(rows, room, &m, &id, &slice.Head, &slice.Floor, &n); err != nil {
				return err
			}
			found = true
			if p := parts[n]; p != nil {
				p.add(&m)
			}
		}
		return rows.Err()
	})
	return slice, found, err
}

// History implements [history.Store].
func (s *Store) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	p, err := p.Prepare()
	if err != nil {
		return history.Slice{}, err
	}
	reading.Shorten(&p.Limit, s.Waiting())
	before, from := part{limit: p.Limit}, part{limit: p.Limit}
	var anyB, anyA part
	anyB.limit, anyA.limit = history.Limit{Messages: 1}, history.Limit{Messages: 1}
	parts := map[int]*part{older: &before, newer: &from, anyBefore: &anyB, anyAfter: &anyA}
	rows := func(l history.Limit) int { return l.Messages + 1 }
	var slice history.Slice
	switch {
	case p.After != 0:
		slice, _, err = s.page(ctx, room, pageQueries.after, parts, max(p.After, 0), rows(p.Limit), p.Limit.Bytes)
		slice.MoreBefore = len(anyB.messages) > 0
	case p.Around != 0:
		before.limit, from.limit = p.Limit.Halves()
		slice, _, err = s.page(ctx, room, pageQueries.around, parts, p.Around,
			rows(before.limit), before.limit.Bytes, rows(from.limit), from.limit.Bytes)
	case p.Before != 0:
		slice, _, err = s.page(ctx, room, pageQueries.before, parts, p.Before, rows(p.Limit), p.Limit.Bytes)
		slice.MoreAfter = len(anyA.messages) > 0
	default:
		slice, _, err = s.page(ctx, room, pageQueries.newest, parts, rows(p.Limit), p.Limit.Bytes)
	}
	if err != nil {
		return slice, err
	}
	slices.Reverse(before.messages)
	slice.Messages = append(append(slice.Messages, before.messages...), from.messages...)
	slice.MoreBefore = slice.MoreBefore || before.more
	slice.MoreAfter = slice.MoreAfter || from.more
	return slice, nil
}

// Changes implements [history.Store].
func (s *Store) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	since, l = max(since, 0), l.Prepare()
	reading.Shorten(&l, s.Waiting())
	unchanged, changed := part{limit: l}, part{limit: l}
	slice, found, err := s.page(ctx, room, pageQueries.unchanged, map[int]*part{older: &unchanged, newer: &changed},
		since, l.Messages+1, l.Bytes)
	switch {
	case err != nil || !found:
		return slice, err
	case since < slice.Floor:
		return slice, history.ErrPruned
	}
	reading.Changes(&slice, since, l, reading.Part{Messages: unchanged.messages, Left: unchanged.left},
		reading.Part{Messages: changed.messages, Left: changed.left})
	return slice, nil
}

// Heads implements [history.Store].
func (s *Store) Heads(ctx context.Context, rooms []string) (heads map[string]int64, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		heads = make(map[string]int64, len(rooms))
		rows, err := q.Query(ctx, "SELECT room_id, head FROM parley.rooms WHERE head > 0 AND room_id = ANY($1)", rooms)
		if err != nil {
			return err
		}
		var room string
		var head int64
		_, err = pgx.ForEachRow(rows, []any{&room, &head}, func() error {
			heads[room] = head
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return heads, err
}
