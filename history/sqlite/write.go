package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/appending"
)

// writer is the only connection that writes. The goroutine that took it from Store.writers owns it.
type writer struct {
	connection

	begin, commit, rollback *sql.Stmt
	dataVersion             *sql.Stmt // changes when another connection has written
	room, lastRoom, replay  *sql.Stmt
	message, floor, edit    *sql.Stmt
	readSeq, mark           *sql.Stmt
	view, newestChange      *sql.Stmt
	replayMerged, person    *sql.Stmt
	messages                inserts
	rooms, conversations    inserts
	args                    [64 * conversationColumns]driver.NamedValue // of the insert that is running
	changelog, follow       *sql.Stmt
	news                    chan<- struct{} // see tellFollower

	version   int64                     // the data version for which the fields below are valid
	known     map[string]appending.Room // rooms that the last commits touched
	maxKnown  int                       // maximum size of known
	nextID    int64                     // id of the next new room
	change    int64                     // the newest change of all conversations
	anyErased bool                      // some room was erased
	changes   changes
}

// rowsAtOnce are the sizes of inserts. The call of a statement costs more than a row, not least because
// it opens all indexes, so any number of rows takes few calls.
var rowsAtOnce = [...]int{64, 32, 16, 8, 4, 2, 1}

const (
	messageColumns = 6
	roomColumns    = 4
)

// replayQuery finds a message through the index messages_client.
const replayQuery = "SELECT " + columns + ` FROM messages m
	WHERE client_id = ? AND id >> 32 = ?
	AND iif(operator_id IS NULL, 'u' || user_id, 'o' || operator_id) = ?`

func (s *Store) newWriter(ctx context.Context) (*writer, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{connection: connection{conn: conn}, version: -1, maxKnown: s.maxKnown, news: s.news}
	w.setCache(ctx, s.opt.CacheBytes)
	w.exec(ctx, "PRAGMA secure_delete = ON") // what was deleted or moved to another page is overwritten; see erase
	// The outcome of the whole batch depends on this transaction, so it takes the write lock at
	// once. A conflict ends the transaction (OR ROLLBACK). This avoids the journal that is needed
	// to undo a single statement.
	w.begin = w.prepare(ctx, "BEGIN IMMEDIATE")
	w.commit = w.prepare(ctx, "COMMIT")
	w.rollback = w.prepare(ctx, "ROLLBACK")
	w.dataVersion = w.prepare(ctx, "PRAGMA data_version")
	w.room = w.prepare(ctx, `SELECT id, head, last_at, coalesce(user_id, ''), coalesce(operator_id, ''), coalesce(status, ''),
		coalesce(closed_at, 0), coalesce(waiting_at, 0), change, EXISTS (SELECT 1 FROM people WHERE became = user_id)
		FROM rooms WHERE room_id = ?`)
	w.newestChange = w.prepare(ctx, newestChangeQuery)
	w.view = w.prepare(ctx, viewQuery)
	w.person = w.prepare(ctx, personQuery)
	w.replayMerged = w.prepare(ctx, replayMergedQuery)
	w.lastRoom = w.prepare(ctx, lastRoomQuery)
	w.follow = w.prepare(ctx, followQuery)
	w.changelog = w.prepare(ctx, "INSERT OR ROLLBACK INTO changelog VALUES (?, ?)")
	w.replay = w.prepare(ctx, replayQuery)
	w.message = w.prepare(ctx, messageQuery)
	w.floor = w.prepare(ctx, "SELECT floor FROM rooms WHERE id = ?")
	w.edit = w.prepare(ctx, "UPDATE OR ROLLBACK messages SET message = ?, rev = ?, deleted = ?, edited_at = ? WHERE id = ?")
	w.readSeq = w.prepare(ctx, readSeqQuery)
	w.mark = w.prepare(ctx, `INSERT OR ROLLBACK INTO cursors (room, member, read_seq, at) VALUES (?, ?, ?, ?)
		ON CONFLICT (room, member) DO UPDATE SET read_seq = excluded.read_seq, at = excluded.at`)
	for i, rows := range rowsAtOnce {
		w.messages[i] = w.prepareInsert(ctx, `INSERT OR ROLLBACK INTO messages
			(id, user_id, operator_id, message, timestamp, client_id) VALUES `+placeholders(rows, messageColumns))
		w.conversations[i] = w.prepareInsert(ctx, conversationUpsert(rows))
		w.rooms[i] = w.prepareInsert(ctx, `INSERT OR ROLLBACK INTO rooms (id, room_id, head, last_at) VALUES `+placeholders(rows, roomColumns)+`
			ON CONFLICT (id) DO UPDATE SET head = excluded.head, last_at = excluded.last_at`)
	}
	if w.err == nil {
		w.err = s.moved() // or it would write to another database
	}
	if w.err != nil {
		w.close()
		return nil, w.err
	}
	return w, nil
}

// placeholders returns "(?,?),(?,?)" for 2 rows of 2 columns.
func placeholders(rows, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	return strings.TrimSuffix(strings.Repeat(row+",", rows), ",")
}

// Append implements [history.Store]. Canceling ctx has an effect only until it is the batch's turn.
func (s *Store) Append(ctx context.Context, drafts []history.Draft) ([]history.Appended, error) {
	if err := ctx.Err(); err != nil {
		return nil, history.ErrUnavailable.Wrap("append", err)
	}
	results := make([]history.Appended, len(drafts))
	prepared := make([]history.Draft, len(drafts))
	for i, d := range drafts {
		prepared[i], results[i].Err = d.Prepare()
	}
	err := s.write(ctx, "append", func(ctx context.Context, w *writer) error {
		now := s.now().UnixMilli()
		err := w.append(ctx, prepared, results, now, false)
		if isConstraint(err) {
			// A client id is already known. This is rare, so only now each one is looked up.
			w.version = -1
			err = w.append(ctx, prepared, results, now, true)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// write calls f with the connection that writes, when it is its turn. Canceling ctx has an effect only
// until then. An error of f that is no *history.Error becomes ErrUnavailable. After an error the
// connection is replaced, unless the error is refused.
func (s *Store) write(ctx context.Context, doing string, f func(context.Context, *writer) error) error {
	var w *writer
	select {
	case w = <-s.writers:
	case <-ctx.Done():
		return history.ErrUnavailable.Wrap(doing, ctx.Err())
	}
	defer func() { s.writers <- w }()
	if err := s.isClosed(); err != nil {
		return err
	}
	if fault := s.look(); fault != nil {
		return fault
	}
	ctx = context.WithoutCancel(ctx)
	var err error
	if w == nil {
		if w, err = s.newWriter(ctx); err != nil {
			return history.ErrUnavailable.Wrap("open the writing connection", err)
		}
	}
	err = f(ctx, w)
	if fault := s.look(); err == nil && kind(fault) == ErrMoved {
		err = history.ErrUnknownOutcome.Wrap("commit", fault.Cause)
	}
	var refusal refused
	if err == nil || errors.As(err, &refusal) {
		return cmp.Or(refusal.error, err)
	}
	w.close() // it may be in any state; the next call gets a new one
	w = nil
	var known *history.Error
	if !errors.As(err, &known) {
		err = history.ErrUnavailable.Wrap(doing, err)
	}
	return err
}

// refused is an error that leaves the writing connection as good as it was: what was asked for is
// not possible, and nothing was written.
type refused struct{ error }

// transact calls f in a transaction that holds the write lock, and commits.
func (w *writer) transact(ctx context.Context, f func() error) error {
	if _, err := w.begin.ExecContext(ctx); err != nil {
		return err
	}
	w.changes.packed = w.changes.packed[:0]
	err := f()
	if err == nil {
		err = w.writeChanges(ctx)
	}
	if err != nil {
		w.rollback.ExecContext(ctx) // fails if the error has already ended the transaction
		return err
	}
	if _, err := w.commit.ExecContext(ctx); isFull(err) {
		return err // not even the last page of the commit was written
	} else if err != nil {
		return history.ErrUnknownOutcome.Wrap("commit", err)
	}
	w.tellFollower()
	return nil
}

// append stores the drafts that have no error yet, in one transaction. If replays is true, it looks
// up each client id first. Otherwise a known client id makes the transaction fail.
func (w *writer) append(ctx context.Context, drafts []history.Draft, results []history.Appended, now int64, replays bool) error {
	return w.batch(ctx, now, func(b *batch) error {
		b.rows = slices.Grow(b.rows, len(drafts)*messageColumns)
		b.replays = replays
		return appending.Append(ctx, b, drafts, results, now)
	})
}

// batch calls f in a transaction, and writes what f has numbered.
func (w *writer) batch(ctx context.Context, now int64, f func(*batch) error) error {
	b := batch{writer: w, now: now, touched: make(map[string]*appending.Room)}
	err := w.transact(ctx, func() error {
		if err := b.refresh(ctx); err != nil {
			return err
		}
		if err := f(&b); err != nil {
			return err
		}
		return b.flush(ctx)
	})
	if err != nil {
		return err
	}
	if len(w.known)+len(b.touched) > w.maxKnown {
		clear(w.known)
	}
	for name, r := range b.touched {
		if !r.Absent {
			w.known[name] = *r
		}
	}
	w.nextID += b.newRooms
	return nil
}

// batch is one transaction.
type batch struct {
	*writer
	now      int64
	touched  map[string]*appending.Room
	newRooms int64
	rows     []any                             // arguments of the insert into messages
	replays  bool                              // each client id is looked up
	earlier  map[appending.Key]history.Message // messages in rows, if replays are looked up
	again    []int64                           // new rooms that were erased before, each with its floor
}

// refresh forgets the known rooms if another connection has written, for example a person in a
// shell. Within a transaction that holds the write lock, the answer stays true.
func (w *writer) refresh(ctx context.Context) error {
	var version int64
	if err := w.dataVersion.QueryRowContext(ctx).Scan(&version); err != nil {
		return err
	}
	if version == w.version {
		return nil
	}
	var last int64
	if err := w.lastRoom.QueryRowContext(ctx).Scan(&last); err != nil {
		return err
	}
	if err := w.newestChange.QueryRowContext(ctx).Scan(&w.change); err != nil {
		return err
	}
	if err := w.follow.QueryRowContext(ctx).Scan(&w.changes.followed, &w.changes.position, &w.anyErased); err != nil {
		return err
	}
	w.version, w.known, w.nextID = version, make(map[string]appending.Room), last+1
	return nil
}

// find returns a room as it is after the previous changes.
func (b *batch) find(ctx context.Context, name string) (r appending.Room, found bool, err error) {
	if r := b.touched[name]; r != nil {
		return *r, !r.Absent, nil
	}
	if r, found = b.known[name]; found {
		return r, true, nil
	}
	var c appending.Conversation
	err = b.room.QueryRowContext(ctx, name).Scan(&r.ID, &r.Head, &r.LastAt,
		&c.UserID, &c.OperatorID, &c.Status, &c.ClosedAt, &c.WaitingAt, &c.Change, &c.Merged)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	if c.UserID != "" {
		r.Conversation = &c
	}
	return r, err == nil, err
}

// Room implements [appending.Transaction].
func (b *batch) Room(ctx context.Context, name string) (*appending.Room, error) {
	if r := b.touched[name]; r != nil {
		r.Dirty = true
		return r, nil
	}
	r, found, err := b.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if !found {
		r.ID = b.nextID + b.newRooms
		b.newRooms++
		r.Absent = true
		if r.Head, err = b.erasedHead(ctx, name); err != nil {
			return nil, err
		}
		if r.Head > 0 {
			b.again = append(b.again, r.ID, r.Head)
		}
	}
	if r.Conversation != nil {
		own := *r.Conversation // the known one stays as it is until the commit
		r.Conversation = &own
	}
	r.Dirty = true
	b.touched[name] = &r
	return &r, nil
}

// Original implements [appending.Transaction].
func (b *batch) Original(ctx context.Context, r *appending.Room, d *history.Draft) (history.Message, bool, error) {
	if !b.replays && !r.Conversation.MergedInto(d) {
		return history.Message{}, false, nil
	}
	return b.original(ctx, r, d)
}

// original returns the message that is known by the client id of d.
func (b *batch) original(ctx context.Context, r *appending.Room, d *history.Draft) (m history.Message, found bool, err error) {
	key := appending.KeyOf(r.ID, d.Author(), d.ClientID)
	if m, found = b.earlier[key]; found {
		return m, true, nil
	}
	err = scanMessage(b.replay.QueryRowContext(ctx, key.ClientID, key.Room, key.Author), d.RoomID, &m)
	if errors.Is(err, sql.ErrNoRows) && r.Conversation.MergedInto(d) {
		err = scanMessage(b.replayMerged.QueryRowContext(ctx, key.ClientID, key.Room, d.UserID), d.RoomID, &m)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	return m, err == nil, err
}

// Add implements [appending.Transaction].
func (b *batch) Add(r *appending.Room, m *history.Message) {
	b.rows = append(b.rows, r.ID<<32|m.Seq, orNull(m.UserID), orNull(m.OperatorID), string(m.Message), r.LastAt, orNull(m.ClientID))
	if b.replays && m.ClientID != "" {
		if b.earlier == nil {
			b.earlier = make(map[appending.Key]history.Message)
		}
		b.earlier[appending.KeyOf(r.ID, m.Author(), m.ClientID)] = *m
	}
}

// flush writes the messages that were added, and the rooms that have changed.
func (b *batch) flush(ctx context.Context) error {
	if err := b.insert(ctx, &b.messages, b.rows, messageColumns); err != nil {
		return err
	}
	b.rows = b.rows[:0]
	rows := make([]any, 0, len(b.touched)*roomColumns)
	var conversations []any
	for name, r := range b.touched {
		switch {
		case r.Absent || !r.Dirty:
			continue
		case r.Conversation != nil:
			conversations = appendRow(conversations, name, r)
		default:
			rows = append(rows, r.ID, name, r.Head, r.LastAt)
		}
		r.Dirty = false
	}
	if err := b.insert(ctx, &b.rooms, rows, roomColumns); err != nil {
		return err
	}
	if err := b.insert(ctx, &b.conversations, conversations, conversationColumns); err != nil {
		return err
	}
	return b.raiseFloors(ctx, b.again)
}

// inserts are the sizes of a statement. They are the driver's own: database/sql looks at each argument,
// and a batch has hundreds.
type inserts [len(rowsAtOnce)]driver.StmtExecContext

func (w *writer) prepareInsert(ctx context.Context, query string) (insert driver.StmtExecContext) {
	if w.err != nil {
		return nil
	}
	w.err = w.conn.Raw(func(conn any) error {
		stmt, err := conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
		if err == nil {
			insert = stmt.(driver.StmtExecContext)
			w.stmts = append(w.stmts, stmt)
		}
		return err
	})
	return insert
}

// insert writes rows with as few calls as possible. The arguments are int64, string, or nil.
func (w *writer) insert(ctx context.Context, stmts *inserts, args []any, columns int) error {
	if len(args) == 0 {
		return nil
	}
	return w.conn.Raw(func(any) error {
		for i, rows := range rowsAtOnce {
			for n := rows * columns; len(args) >= n; args = args[n:] {
				for j, arg := range args[:n] {
					w.args[j] = driver.NamedValue{Ordinal: j + 1, Value: arg}
				}
				_, err := stmts[i].ExecContext(ctx, w.args[:n])
				clear(w.args[:n]) // messages may be large
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
