package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
	"github.com/parley-go/parley/history/internal/reading"
)

// reader is a read-only connection. The goroutine that took it from Store.readers owns it.
type reader struct {
	connection

	begin, commit      *sql.Stmt
	rollback           *sql.Stmt
	room, heads        *sql.Stmt
	before, after      *sql.Stmt
	unchanged, changed *sql.Stmt
	exists, message    *sql.Stmt
	readSeq            *sql.Stmt
	unread, marks      *sql.Stmt
	view, positions    *sql.Stmt
	changedRooms       *sql.Stmt
	person, identities *sql.Stmt
	changelog, owner   *sql.Stmt
	sources            *sql.Stmt
	nextSources        *sql.Stmt
}

// columns are the columns of a message, in the order of scanMessage. Two are one, because reading a
// column costs more than shifting.
const columns = `m.id, coalesce(m.user_id, ''), coalesce(m.operator_id, ''), m.message, m.timestamp,
	coalesce(m.client_id, ''), coalesce(m.rev, 0), coalesce(m.edited_at, 0) << 1 | m.deleted`

// changedQuery uses the index messages_rev.
const changedQuery = "SELECT " + columns + ` FROM messages m
	WHERE id >> 32 = ? AND rev > ? ORDER BY rev LIMIT ?`

func (s *Store) newReader(ctx context.Context) (*reader, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	r := &reader{connection: connection{conn: conn}}
	r.setCache(ctx, s.opt.CacheBytes/8)
	r.exec(ctx, "PRAGMA query_only = ON")
	r.begin = r.prepare(ctx, "BEGIN")
	r.commit = r.prepare(ctx, "COMMIT")
	r.rollback = r.prepare(ctx, "ROLLBACK")
	r.room = r.prepare(ctx, "SELECT id, head, floor FROM rooms WHERE room_id = ?")
	r.heads = r.prepare(ctx, "SELECT room_id, head FROM rooms WHERE head > 0 AND room_id IN (SELECT value FROM json_each(?))")
	r.before = r.prepare(ctx, "SELECT "+columns+" FROM messages m WHERE id > ? AND id < ? ORDER BY id DESC LIMIT ?")
	r.after = r.prepare(ctx, "SELECT "+columns+" FROM messages m WHERE id > ? AND id < ? ORDER BY id LIMIT ?")
	r.unchanged = r.prepare(ctx, "SELECT "+columns+` FROM messages m
		WHERE id > ? AND id < ? AND rev IS NULL ORDER BY id LIMIT ?`)
	r.changed = r.prepare(ctx, changedQuery)
	r.exists = r.prepare(ctx, "SELECT EXISTS (SELECT 1 FROM messages WHERE id > ? AND id < ?)")
	r.message = r.prepare(ctx, messageQuery)
	r.readSeq = r.prepare(ctx, readSeqQuery)
	r.view = r.prepare(ctx, viewQuery)
	r.positions = r.prepare(ctx, positionsQuery)
	r.changedRooms = r.prepare(ctx, changedRoomsQuery)
	r.person = r.prepare(ctx, personQuery)
	r.identities = r.prepare(ctx, "SELECT id FROM people WHERE became = ? ORDER BY id")
	r.unread = r.prepare(ctx, unreadQuery)
	r.marks = r.prepare(ctx, "SELECT member, read_seq, at FROM cursors WHERE room = ? ORDER BY member")
	r.changelog = r.prepare(ctx, changesQuery)
	r.owner = r.prepare(ctx, ownerQuery)
	const source = "SELECT m.id, m.timestamp, iif(m.deleted, 'null', m.message) FROM "
	r.sources = r.prepare(ctx, source+"json_each(?) j CROSS JOIN messages m ON m.id = j.value")
	r.nextSources = r.prepare(ctx, source+"messages m WHERE m.id > ? ORDER BY m.id LIMIT ?")
	if r.err == nil {
		r.err = s.moved() // or it would read another database
	}
	if r.err != nil {
		r.close()
		return nil, r.err
	}
	return r, nil
}

// read calls f with a connection of its own, when it is the turn of ctx's client, and in a
// transaction, so that everything that f reads is from the same moment. The transaction must be
// short, because it keeps the write-ahead log from being reused.
func (s *Store) read(ctx context.Context, f func(*reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := reading.Take(ctx, s.readers)
	if err != nil {
		return err
	}
	defer func() { s.readers.Give(r) }()
	if kind(s.fault.Load()) == ErrMoved {
		if fault := s.look(); kind(fault) == ErrMoved { // still
			return fault
		}
	}
	if r == nil {
		// Not with ctx: others will use the connection.
		if r, err = s.newReader(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("parley: open a reading connection: %w", err)
		}
	}
	if _, err = r.begin.Exec(); err == nil {
		err = f(r)
	}
	if err == nil {
		_, err = r.commit.Exec()
	}
	if err == nil {
		return nil
	}
	// A read that was interrupted leaves a good connection.
	if _, e := r.rollback.Exec(); e != nil || ctx.Err() == nil {
		r.close()
		r = nil
	}
	return fmt.Errorf("parley: read history: %w", cmp.Or(ctx.Err(), err))
}

// Waiting returns the number of reads that wait for their turn.
func (s *Store) Waiting() int { return s.readers.Waiting() }

// readRoom calls f in a transaction. If the room does not exist, it does not, and s stays empty.
// While others wait, l becomes smaller.
func (s *Store) readRoom(ctx context.Context, room string, l *history.Limit, f func(r *reader, id int64, s *history.Slice) error) (history.Slice, error) {
	slice := history.Slice{Messages: []history.Message{}}
	if err := history.CheckRoom(room); err != nil {
		return slice, err
	}
	err := s.read(ctx, func(r *reader) error {
		reading.Shorten(l, s.Waiting())
		var id int64
		err := r.room.QueryRowContext(ctx, room).Scan(&id, &slice.Head, &slice.Floor)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		return f(r, id, &slice)
	})
	return slice, err
}

// History implements [history.Store].
func (s *Store) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	p, err := p.Prepare()
	if err != nil {
		return history.Slice{}, err
	}
	return s.readRoom(ctx, room, &p.Limit, func(r *reader, id int64, s *history.Slice) error {
		first, end := id<<32, (id+1)<<32
		var err error
		switch {
		case p.After != 0:
			from := max(p.After, 0)
			s.Messages, s.MoreAfter, err = query(ctx, r.after, room, p.Limit, at(id, from), end)
			if err == nil && from > 0 {
				err = r.exists.QueryRowContext(ctx, first, at(id, from)+1).Scan(&s.MoreBefore)
			}
		case p.Around != 0:
			var older, newer []history.Message
			before, from := p.Limit.Halves()
			older, s.MoreBefore, err = query(ctx, r.before, room, before, first, at(id, p.Around))
			if err == nil {
				newer, s.MoreAfter, err = query(ctx, r.after, room, from, at(id, p.Around-1), end)
			}
			slices.Reverse(older)
			s.Messages = append(older, newer...)
		case p.Before != 0:
			s.Messages, s.MoreBefore, err = query(ctx, r.before, room, p.Limit, first, at(id, p.Before))
			slices.Reverse(s.Messages)
			if err == nil && p.Before <= s.Head {
				err = r.exists.QueryRowContext(ctx, at(id, p.Before)-1, end).Scan(&s.MoreAfter)
			}
		default:
			s.Messages, s.MoreBefore, err = query(ctx, r.before, room, p.Limit, first, end)
			slices.Reverse(s.Messages)
		}
		return err
	})
}

// Changes implements [history.Store].
func (s *Store) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	since, l = max(since, 0), l.Prepare()
	pruned := false
	slice, err := s.readRoom(ctx, room, &l, func(r *reader, id int64, s *history.Slice) error {
		if pruned = since < s.Floor; pruned {
			return nil
		}
		unchanged, err := queryPart(ctx, r.unchanged, room, l, at(id, since), (id+1)<<32)
		if err != nil {
			return err
		}
		changed, err := queryPart(ctx, r.changed, room, l, id, since)
		if err != nil {
			return err
		}
		reading.Changes(s, since, l, unchanged, changed)
		return nil
	})
	if err == nil && pruned {
		return slice, history.ErrPruned
	}
	return slice, err
}

// Heads implements [history.Store].
func (s *Store) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	names, err := json.Marshal(rooms)
	if err != nil {
		return nil, err
	}
	heads := make(map[string]int64, len(rooms))
	err = s.read(ctx, func(r *reader) error {
		rows, err := r.heads.QueryContext(ctx, string(names))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var room string
			var head int64
			if err := rows.Scan(&room, &head); err != nil {
				return err
			}
			heads[room] = head
		}
		return rows.Err()
	})
	return heads, err
}

// at returns the key of a message. If no message can have this seq, the key still stays within the
// room.
func at(room, seq int64) int64 { return room<<32 + min(seq, 1<<32-1) }

// query returns the first messages, as many as the limit allows, and whether there are more.
func query(ctx context.Context, stmt *sql.Stmt, room string, l history.Limit, from, to int64) (messages []history.Message, more bool, err error) {
	p, err := queryPart(ctx, stmt, room, l, from, to)
	return p.Messages, p.Left > 0, err
}

// queryPart returns the first messages. SQLite reads a row when it is asked for, so it reads only one
// message that does not fit.
func queryPart(ctx context.Context, stmt *sql.Stmt, room string, l history.Limit, from, to int64) (p reading.Part, err error) {
	p.Messages = make([]history.Message, 0, min(l.Messages, history.DefaultLimit))
	rows, err := stmt.QueryContext(ctx, from, to, l.Messages+1)
	if err != nil {
		return reading.Part{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var m history.Message
		if err := scanMessage(rows, room, &m); err != nil {
			return reading.Part{}, err
		}
		if !l.Take(&m) {
			p.Left = m.Number()
			return p, nil
		}
		p.Messages = append(p.Messages, m)
	}
	return p, rows.Err()
}

// scanMessage reads columns.
func scanMessage(row interface{ Scan(...any) error }, room string, m *history.Message) error {
	var id, timestamp int64
	var edited int64 // the time, and a bit that says whether the message was deleted
	err := row.Scan(&id, &m.UserID, &m.OperatorID, (*[]byte)(&m.Message), &timestamp, &m.ClientID, &m.Rev, &edited)
	m.RoomID, m.Seq, m.Timestamp = room, id&0xffffffff, history.TimeMilli(timestamp)
	m.ID = cell.MessageID(id>>32, m.Seq)
	if edited != 0 {
		m.EditedAt, m.Deleted = history.TimeMilli(edited>>1), edited&1 != 0
	}
	if m.Deleted {
		m.Message = nil
	}
	return err
}

// connection is a connection with its statements. Close the statements before the connection;
// otherwise SQLite keeps the file open for them.
type connection struct {
	conn  *sql.Conn
	stmts []io.Closer
	err   error // the first error; nothing is prepared after it
}

func (c *connection) prepare(ctx context.Context, query string) *sql.Stmt {
	if c.err != nil {
		return nil
	}
	var stmt *sql.Stmt
	if stmt, c.err = c.conn.PrepareContext(ctx, query); c.err == nil {
		c.stmts = append(c.stmts, stmt)
	}
	return stmt
}

func (c *connection) exec(ctx context.Context, query string) {
	if c.err == nil {
		_, c.err = c.conn.ExecContext(ctx, query)
	}
}

func (c *connection) setCache(ctx context.Context, bytes int64) {
	c.exec(ctx, fmt.Sprintf("PRAGMA cache_size = -%d", bytes>>10))
}

// close closes a connection in any state. Its errors do not matter.
func (c *connection) close() {
	for _, stmt := range c.stmts {
		stmt.Close()
	}
	c.conn.Close()
}
