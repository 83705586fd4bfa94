package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/parley-go/parley/history"
)

// conversation is what the writer knows of a room that belongs to a user: what messages change.
type conversation struct {
	userID, operatorID, status string
	closedAt, waitingAt        int64 // 0: not
	change                     int64
	merged                     bool // the user was a visitor, perhaps in this room
}

// conversationColumns are the columns that appendRow fills.
const conversationColumns = 9

// conversationUpsert changes rows. They exist: converse inserts them.
func conversationUpsert(rows int) string {
	return `INSERT OR ROLLBACK INTO rooms (id, room_id, head, last_at, operator_id, status, closed_at, waiting_at, change)
		VALUES ` + placeholders(rows, conversationColumns) + `
		ON CONFLICT (id) DO UPDATE SET head = excluded.head, last_at = excluded.last_at, operator_id = excluded.operator_id,
		status = excluded.status, closed_at = excluded.closed_at, waiting_at = excluded.waiting_at, change = excluded.change`
}

func (c *conversation) appendRow(rows []any, name string, r *room) []any {
	return append(rows, r.id, name, r.head, r.lastAt, orNull(c.operatorID), c.status, zeroNull(c.closedAt), zeroNull(c.waitingAt), c.change)
}

func zeroNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// timeOf returns the time of a column that is 0 if there is none.
func timeOf(ms int64) (t history.Time) {
	if ms != 0 {
		t = history.TimeMilli(ms)
	}
	return t
}

func milliOf(t history.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// receive changes the conversation as a new message does, and tells an operator's message its user.
func (c *conversation) receive(m *history.Message, keep func(string) bool) {
	if m.OperatorID != "" {
		m.UserID = c.userID
	}
	r := history.Room{
		OperatorID: c.operatorID, Status: history.Status(c.status), ClosedAt: timeOf(c.closedAt), WaitingSince: timeOf(c.waitingAt),
	}
	r.Receive(m, keep)
	c.set(&r)
}

// set takes over what the writer knows of r, except for its user.
func (c *conversation) set(r *history.Room) {
	c.operatorID, c.status = r.OperatorID, string(r.Status)
	c.closedAt, c.waitingAt = milliOf(r.ClosedAt), milliOf(r.WaitingSince)
}

// mergedInto reports whether the author of d may have sent the same message before as a visitor.
func (c *conversation) mergedInto(d *history.Draft) bool {
	return c != nil && c.merged && d.OperatorID == "" && d.UserID == c.userID
}

// replayMergedQuery finds a message of a visitor that has become a user, through the index
// messages_client.
const replayMergedQuery = "SELECT " + columns + ` FROM messages m
	WHERE client_id = ? AND id >> 32 = ? AND operator_id IS NULL
	AND user_id IN (SELECT id FROM people WHERE became = ?) LIMIT 1`

// newestChangeQuery reads the newest change of all conversations. An erasure takes a number, too: the
// changes up to it are not complete any more.
const newestChangeQuery = `SELECT max((SELECT coalesce(max(change), 0) FROM rooms WHERE user_id IS NOT NULL),
	coalesce((SELECT CAST(v AS INTEGER) FROM meta WHERE k = 'erased_change'), 0))`

// positionsQuery reads the newest change, and the one up to which the changes are not complete.
const positionsQuery = "SELECT (" + newestChangeQuery + `),
	coalesce((SELECT CAST(v AS INTEGER) FROM meta WHERE k = 'erased_change'), 0)`

// roomChanged gives the next change to a conversation because of something else than a message.
func (b *batch) roomChanged(r *room) {
	b.bump(r)
	b.changed(history.RoomChanged, r.id, r.conversation.change, 0)
}

// bump gives the next change to a room if that is a conversation.
func (b *batch) bump(r *room) {
	if r.conversation != nil {
		b.writer.change++
		r.conversation.change = b.writer.change
	}
}

// converse makes an absent room a conversation that has no messages yet, which is its first change.
func (b *batch) converse(ctx context.Context, name string, r *room, c *history.Conversation, now int64) error {
	known, err := b.personOf(ctx, c.UserID)
	if err != nil {
		return err
	}
	if _, err := b.putPerson(ctx, c.Person(known), now); err != nil {
		return err
	}
	labels, err := json.Marshal(c.Labels)
	if err != nil {
		return err
	}
	r.conversation = &conversation{userID: c.UserID, status: string(history.Open)}
	b.bump(r)
	_, err = b.conn.ExecContext(ctx, `INSERT OR ROLLBACK INTO rooms
		(id, room_id, last_at, created_at, user_id, status, subject, labels, attributes, change) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.id, name, now, now, c.UserID, string(history.Open), orNull(c.Subject), string(labels), object(c.Attributes), r.conversation.change)
	r.absent, r.lastAt = false, now
	return err
}

// object returns attributes as they are stored.
func object(attributes json.RawMessage) string {
	if attributes == nil {
		return "{}"
	}
	return string(attributes)
}

// viewQuery reads rooms by their ids, a JSON array, as seen by a member, each with its place in the array.
// The newest message is one seek.
const viewQuery = `SELECT j.key, r.room_id, coalesce(r.user_id, ''), coalesce(r.operator_id, ''), coalesce(r.status, ''), coalesce(r.subject, ''),
	r.labels, r.attributes, r.head, r.floor, r.last_at, r.created_at, coalesce(r.closed_at, 0), coalesce(r.waiting_at, 0), r.change,
	coalesce(c.read_seq, 0), (SELECT count(*) FROM (SELECT 1 FROM messages n
		WHERE n.id > (r.id << 32) + max(coalesce(c.read_seq, 0), r.head - ?4) AND n.id < (r.id + 1) << 32 AND ` + countsAsUnread + ` LIMIT ?3)),
	coalesce((SELECT max(read_seq) FROM cursors WHERE room = r.id AND member >= 'o' AND member < 'p'), 0),
	coalesce((SELECT read_seq FROM cursors WHERE room = r.id AND member = 'u' || r.user_id), 0),
	p.id IS NOT NULL, coalesce(p.name, ''), coalesce(p.email, ''), coalesce(p.verified, 0),
	coalesce(m.id, 0), coalesce(m.user_id, ''), coalesce(m.operator_id, ''), coalesce(m.message, ''), coalesce(m.timestamp, 0),
	coalesce(m.client_id, ''), coalesce(m.rev, 0), coalesce(m.edited_at, 0)
	FROM json_each(?2) j CROSS JOIN rooms r ON r.id = j.value
	LEFT JOIN cursors c ON c.room = r.id AND c.member = ?1
	LEFT JOIN people p ON p.id = r.user_id
	LEFT JOIN messages m ON m.id = (SELECT id FROM messages l
		WHERE l.id > r.id << 32 AND l.id < (r.id + 1) << 32 AND l.deleted = 0 ORDER BY l.id DESC LIMIT 1)`

// asker is the member who asks, in viewQuery; nobody is empty.
func asker(by history.Member) string {
	if by == (history.Member{}) {
		return ""
	}
	return author(by)
}

// views runs viewQuery.
func views(ctx context.Context, view *sql.Stmt, by history.Member, ids []int64) ([]history.Room, error) {
	rooms := make([]history.Room, len(ids))
	if len(ids) == 0 {
		return rooms, nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	rows, err := view.QueryContext(ctx, asker(by), string(list), history.MaxUnread, history.UnreadSpan)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		place, r, err := scanRoom(rows)
		if err != nil {
			return nil, err
		}
		rooms[place] = r // so SQLite need not sort them
	}
	return rooms, rows.Err()
}

func scanRoom(rows *sql.Rows) (place int, r history.Room, err error) {
	var labels, attributes sql.RawBytes
	var lastAt, createdAt, closedAt, waitingAt, last, timestamp, editedAt int64
	var known bool
	var p history.Person
	var m history.Message
	err = rows.Scan(&place, &r.RoomID, &r.UserID, &r.OperatorID, &r.Status, &r.Subject,
		&labels, &attributes, &r.Head, &r.Floor, &lastAt, &createdAt, &closedAt, &waitingAt, &r.Change,
		&r.ReadSeq, &r.Unread, &r.OperatorsReadSeq, &r.UserReadSeq,
		&known, &p.Name, &p.Email, &p.Verified,
		&last, &m.UserID, &m.OperatorID, (*[]byte)(&m.Message), &timestamp, &m.ClientID, &m.Rev, &editedAt)
	if err != nil {
		return place, r, err
	}
	if string(labels) != "[]" {
		if err := json.Unmarshal(labels, &r.Labels); err != nil {
			return place, r, err
		}
	}
	if string(attributes) != "{}" {
		r.Attributes = append(r.Attributes, attributes...)
	}
	r.LastAt, r.CreatedAt, r.ClosedAt, r.WaitingSince = timeOf(lastAt), timeOf(createdAt), timeOf(closedAt), timeOf(waitingAt)
	if known {
		p.UserID = r.UserID
		r.User = &p
	}
	if last != 0 {
		m.ID, m.RoomID, m.Seq = messageID(last), r.RoomID, last&0xffffffff
		m.Timestamp, m.EditedAt = history.TimeMilli(timestamp), timeOf(editedAt)
		r.Last = &m
	}
	return place, r, nil
}

// Room implements [history.Rooms].
func (s *Store) Room(ctx context.Context, room string, by history.Member) (view history.Room, err error) {
	found := false
	_, err = s.readRoom(ctx, room, &history.Limit{}, func(r *reader, id int64, _ *history.Slice) error {
		rooms, err := views(ctx, r.view, by, []int64{id})
		if err == nil {
			view, found = rooms[0], true
		}
		return err
	})
	if err == nil && !found {
		err = history.ErrNotFound
	}
	return view, err
}

const changedRoomsQuery = "SELECT id, change FROM rooms WHERE user_id IS NOT NULL AND change > ? ORDER BY change LIMIT ?"

// ChangedRooms implements [history.Rooms].
func (s *Store) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (changed history.ChangedRooms, err error) {
	limit = history.Limit{Messages: limit}.Prepare().Messages
	pruned := false
	err = s.read(ctx, func(r *reader) error {
		var floor int64
		if err := r.positions.QueryRowContext(ctx).Scan(&changed.Head, &floor); err != nil {
			return err
		}
		if pruned = after < floor; pruned {
			return nil
		}
		changed.Next = changed.Head
		ids, changes, err := pairs(ctx, r.changedRooms, after, limit+1)
		if err != nil {
			return err
		}
		if len(ids) > limit {
			ids = ids[:limit]
			changed.Next = changes[limit-1]
		}
		changed.Rooms, err = views(ctx, r.view, by, ids)
		return err
	})
	if err == nil && pruned {
		err = history.ErrPruned
	}
	return changed, err
}

// pairs returns the two columns of a query.
func pairs(ctx context.Context, stmt *sql.Stmt, args ...any) (a, b []int64, err error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var x, y int64
		if err := rows.Scan(&x, &y); err != nil {
			return nil, nil, err
		}
		a, b = append(a, x), append(b, y)
	}
	return a, b, rows.Err()
}

// CreateRoom implements [history.Rooms]. Canceling ctx has an effect only until it is its turn.
func (s *Store) CreateRoom(ctx context.Context, room string, c history.Conversation) (view history.Room, err error) {
	if err := history.CheckConversation(room); err != nil {
		return view, err
	}
	if c, err = c.Prepare(); err != nil {
		return view, err
	}
	err = s.together(ctx, "create room", func(ctx context.Context, b *batch) error {
		known, found, err := b.find(ctx, room)
		if err != nil {
			return err
		}
		if found {
			return b.conflict(ctx, known.id)
		}
		r, err := b.roomOf(ctx, room)
		if err != nil {
			return err
		}
		if err := b.converse(ctx, room, r, &c, s.now().UnixMilli()); err != nil {
			return err
		}
		b.changed(history.RoomChanged, r.id, r.conversation.change, 0)
		view, err = b.viewOf(ctx, r.id)
		return err
	})
	return view, err
}

// viewOf returns a room as it is after the previous changes.
func (b *batch) viewOf(ctx context.Context, id int64) (history.Room, error) {
	if err := b.flush(ctx); err != nil {
		return history.Room{}, err
	}
	rooms, err := views(ctx, b.view, history.Member{}, []int64{id})
	if err != nil {
		return history.Room{}, err
	}
	return rooms[0], nil
}

// conflict returns an ErrConflict with the room, which is refused.
func (b *batch) conflict(ctx context.Context, id int64) error {
	room, err := b.viewOf(ctx, id)
	if err != nil {
		return err
	}
	return refused{history.ErrConflict.Wrap("room", &history.Conflict{Room: &room})}
}

// UpdateRoom implements [history.Rooms]. Canceling ctx has an effect only until it is the update's turn.
func (s *Store) UpdateRoom(ctx context.Context, u history.RoomUpdate) (updated history.Updated, err error) {
	if u, err = u.Prepare(); err != nil {
		return updated, err
	}
	err = s.together(ctx, "update room", func(ctx context.Context, b *batch) (err error) {
		updated, err = b.update(ctx, &u, s.now().UnixMilli())
		return err
	})
	if err != nil {
		return history.Updated{}, err
	}
	return updated, nil
}

func (b *batch) update(ctx context.Context, u *history.RoomUpdate, now int64) (updated history.Updated, err error) {
	known, found, err := b.find(ctx, u.RoomID)
	if err != nil {
		return updated, err
	}
	if !found || known.conversation == nil {
		return updated, refused{history.ErrNotFound}
	}
	room, err := b.viewOf(ctx, known.id)
	if err != nil {
		return updated, err
	}
	updated.Changed, err = u.Apply(&room, history.TimeMilli(now))
	switch {
	case errors.Is(err, history.ErrConflict):
		return updated, b.conflict(ctx, known.id)
	case err != nil:
		return updated, refused{err}
	case !updated.Changed:
		updated.Room = room
		return updated, nil
	}
	if updated.Note, err = b.note(ctx, u.Note, now); err != nil {
		return updated, err
	}
	labels, err := json.Marshal(room.Labels)
	if err != nil {
		return updated, err
	}
	_, err = b.conn.ExecContext(ctx, "UPDATE OR ROLLBACK rooms SET user_id = ?, subject = ?, labels = ?, attributes = ? WHERE id = ?",
		room.UserID, orNull(room.Subject), string(labels), object(room.Attributes), known.id)
	if err != nil {
		return updated, err
	}
	r, err := b.roomOf(ctx, u.RoomID)
	if err != nil {
		return updated, err
	}
	c := r.conversation
	c.set(&room)
	if c.userID != room.UserID {
		c.userID, c.merged = room.UserID, true // perhaps
	}
	b.roomChanged(r)
	updated.Room, err = b.viewOf(ctx, r.id)
	return updated, err
}
