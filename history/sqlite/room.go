package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/appending"
	"github.com/parley-go/parley/history/internal/cell"
)

// conversationColumns are the columns that appendRow fills.
const conversationColumns = 9

// conversationUpsert changes rows. They exist: Begin inserts them.
func conversationUpsert(rows int) string {
	return `INSERT OR ROLLBACK INTO rooms (id, room_id, head, last_at, operator_id, status, closed_at, waiting_at, change)
		VALUES ` + placeholders(rows, conversationColumns) + `
		ON CONFLICT (id) DO UPDATE SET head = excluded.head, last_at = excluded.last_at, operator_id = excluded.operator_id,
		status = excluded.status, closed_at = excluded.closed_at, waiting_at = excluded.waiting_at, change = excluded.change`
}

func appendRow(rows []any, name string, r *appending.Room) []any {
	c := r.Conversation
	return append(rows, r.ID, name, r.Head, r.LastAt, orNull(c.OperatorID), string(c.Status), zeroNull(c.ClosedAt), zeroNull(c.WaitingAt), c.Change)
}

func zeroNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
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
func (b *batch) roomChanged(r *appending.Room) {
	b.Bump(r)
	b.Changed(history.RoomChanged, r.ID, r.Conversation.Change, 0)
}

// Bump implements [appending.Transaction].
func (b *batch) Bump(r *appending.Room) {
	if r.Conversation != nil {
		b.writer.change++
		r.Conversation.Change = b.writer.change
	}
}

// Begin implements [appending.Transaction].
func (b *batch) Begin(ctx context.Context, name string, r *appending.Room, c *history.Conversation) error {
	known, err := b.personOf(ctx, c.UserID)
	if err != nil {
		return err
	}
	if _, err := b.putPerson(ctx, c.Person(known)); err != nil {
		return err
	}
	labels, err := json.Marshal(c.Labels)
	if err != nil {
		return err
	}
	r.Conversation = &appending.Conversation{UserID: c.UserID, Status: history.Open}
	b.Bump(r)
	_, err = b.conn.ExecContext(ctx, `INSERT OR ROLLBACK INTO rooms
		(id, room_id, last_at, created_at, user_id, status, subject, labels, attributes, change) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, name, b.now, b.now, c.UserID, string(history.Open), orNull(c.Subject), string(labels), cell.Object(c.Attributes), r.Conversation.Change)
	r.Absent, r.LastAt = false, b.now
	return err
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
	rows, err := view.QueryContext(ctx, cell.Asker(by), string(list), history.MaxUnread, history.UnreadSpan)
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
	r.LastAt, r.CreatedAt, r.ClosedAt, r.WaitingSince = cell.Time(lastAt), cell.Time(createdAt), cell.Time(closedAt), cell.Time(waitingAt)
	if known {
		p.UserID = r.UserID
		r.User = &p
	}
	if last != 0 {
		m.RoomID, m.Seq = r.RoomID, last&0xffffffff
		m.ID = cell.MessageID(last>>32, m.Seq)
		m.Timestamp, m.EditedAt = history.TimeMilli(timestamp), cell.Time(editedAt)
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
			return b.conflict(ctx, known.ID)
		}
		r, err := b.Room(ctx, room)
		if err != nil {
			return err
		}
		if err := b.Begin(ctx, room, r, &c); err != nil {
			return err
		}
		b.Changed(history.RoomChanged, r.ID, r.Conversation.Change, 0)
		view, err = b.viewOf(ctx, r.ID)
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
		updated, err = b.update(ctx, &u)
		return err
	})
	if err != nil {
		return history.Updated{}, err
	}
	return updated, nil
}

func (b *batch) update(ctx context.Context, u *history.RoomUpdate) (updated history.Updated, err error) {
	known, found, err := b.find(ctx, u.RoomID)
	if err != nil {
		return updated, err
	}
	if !found || known.Conversation == nil {
		return updated, refused{history.ErrNotFound}
	}
	room, err := b.viewOf(ctx, known.ID)
	if err != nil {
		return updated, err
	}
	updated.Changed, err = u.Apply(&room, history.TimeMilli(b.now))
	switch {
	case errors.Is(err, history.ErrConflict):
		return updated, b.conflict(ctx, known.ID)
	case err != nil:
		return updated, refused{err}
	case !updated.Changed:
		updated.Room = room
		return updated, nil
	}
	if updated.Note, err = b.note(ctx, u.Note); err != nil {
		return updated, err
	}
	labels, err := json.Marshal(room.Labels)
	if err != nil {
		return updated, err
	}
	_, err = b.conn.ExecContext(ctx, "UPDATE OR ROLLBACK rooms SET user_id = ?, subject = ?, labels = ?, attributes = ? WHERE id = ?",
		room.UserID, orNull(room.Subject), string(labels), cell.Object(room.Attributes), known.ID)
	if err != nil {
		return updated, err
	}
	r, err := b.Room(ctx, u.RoomID)
	if err != nil {
		return updated, err
	}
	r.Conversation.Set(&room)
	b.roomChanged(r)
	updated.Room, err = b.viewOf(ctx, r.ID)
	return updated, err
}
