package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
)

// viewColumns are those of a room as seen by a member. It has a source of rooms r.
const viewColumns = `SELECT r.room_id, coalesce(r.user_id, ''), coalesce(r.operator_id, ''), coalesce(r.status, ''), coalesce(r.subject, ''),
	r.labels, r.attributes, r.head, r.floor, r.last_at, r.created_at, coalesce(r.closed_at, 0), coalesce(r.waiting_at, 0), r.change,
	coalesce(c.read_seq, 0), (SELECT count(*) FROM (SELECT 1 FROM parley.messages n
		WHERE n.room = r.id AND n.seq > greatest(coalesce(c.read_seq, 0), r.head - $4::bigint) AND ` + counts + ` LIMIT $3) x),
	coalesce((SELECT max(read_seq) FROM parley.cursors WHERE room = r.id AND member >= 'o' AND member < 'p'), 0),
	coalesce((SELECT read_seq FROM parley.cursors WHERE room = r.id AND member = 'u' || r.user_id), 0),
	p.id IS NOT NULL, coalesce(p.name, ''), coalesce(p.email, ''), coalesce(p.verified, false),
	coalesce(m.room, 0), coalesce(m.seq, 0), coalesce(m.user_id, ''), coalesce(m.operator_id, ''), coalesce(m.message, ''),
	coalesce(m.timestamp, 0), coalesce(m.client_id, ''), coalesce(m.rev, 0), coalesce(m.edited_at, 0), coalesce(m.deleted, false)
	FROM `

// The newest message is one seek.
const viewJoins = `
	LEFT JOIN parley.cursors c ON c.room = r.id AND c.member = $1
	LEFT JOIN parley.people p ON p.id = r.user_id
	LEFT JOIN LATERAL (SELECT * FROM parley.messages l WHERE l.room = r.id AND NOT l.deleted ORDER BY l.seq DESC LIMIT 1) m ON true`

const (
	// viewQuery reads rooms by their ids, in their order.
	viewQuery = viewColumns + "unnest($2::bigint[]) WITH ORDINALITY AS j(id, n) JOIN parley.rooms r ON r.id = j.id" + viewJoins + " ORDER BY j.n"

	roomQuery = viewColumns + "parley.rooms r" + viewJoins + " WHERE r.room_id = $2"
)

func scanRoom(row pgx.Row) (r history.Room, err error) {
	var attributes string
	var lastAt, createdAt, closedAt, waitingAt int64
	var known bool
	var p history.Person
	var m history.Message
	err = scanMessage(row, "", &m, &r.RoomID, &r.UserID, &r.OperatorID, &r.Status, &r.Subject,
		&r.Labels, &attributes, &r.Head, &r.Floor, &lastAt, &createdAt, &closedAt, &waitingAt, &r.Change,
		&r.ReadSeq, &r.Unread, &r.OperatorsReadSeq, &r.UserReadSeq, &known, &p.Name, &p.Email, &p.Verified)
	if err != nil {
		return r, err
	}
	if len(r.Labels) == 0 {
		r.Labels = nil
	}
	if attributes != "{}" {
		r.Attributes = []byte(attributes)
	}
	r.LastAt, r.CreatedAt, r.ClosedAt, r.WaitingSince = cell.Time(lastAt), cell.Time(createdAt), cell.Time(closedAt), cell.Time(waitingAt)
	if known {
		p.UserID = r.UserID
		r.User = &p
	}
	if m.Seq != 0 {
		m.RoomID = r.RoomID
		r.Last = &m
	}
	return r, nil
}

// views reads rooms by their ids.
func views(ctx context.Context, q querier, by history.Member, ids []int64) ([]history.Room, error) {
	rooms := make([]history.Room, 0, len(ids))
	if len(ids) == 0 {
		return rooms, nil
	}
	rows, err := q.Query(ctx, viewQuery, cell.Asker(by), ids, history.MaxUnread, history.UnreadSpan)
	if err != nil {
		return nil, err
	}
	return pgx.AppendRows(rooms, rows, func(row pgx.CollectableRow) (history.Room, error) { return scanRoom(row) })
}

// Room implements [history.Rooms].
func (s *Store) Room(ctx context.Context, room string, by history.Member) (view history.Room, err error) {
	if err := history.CheckRoom(room); err != nil {
		return view, err
	}
	err = s.read(ctx, func(ctx context.Context, q querier) (err error) {
		view, err = scanRoom(q.QueryRow(ctx, roomQuery, cell.Asker(by), room, history.MaxUnread, history.UnreadSpan))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return history.Room{}, history.ErrNotFound
	}
	return view, err
}

// ChangedRooms implements [history.Rooms].
func (s *Store) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (changed history.ChangedRooms, err error) {
	limit = history.Limit{Messages: limit}.Prepare().Messages
	pruned := false
	err = s.snapshot(ctx, func(ctx context.Context, q querier) error {
		changed = history.ChangedRooms{}
		var floor int64
		if err := q.QueryRow(ctx, "SELECT change, erased_change FROM parley.counters").Scan(&changed.Head, &floor); err != nil {
			return err
		}
		if pruned = after < floor; pruned {
			return nil
		}
		changed.Next = changed.Head
		rows, err := q.Query(ctx, "SELECT id, change FROM parley.rooms WHERE user_id IS NOT NULL AND change > $1 ORDER BY change LIMIT $2",
			after, limit+1)
		if err != nil {
			return err
		}
		var id, change int64
		var ids, changes []int64
		if _, err := pgx.ForEachRow(rows, []any{&id, &change}, func() error {
			ids, changes = append(ids, id), append(changes, change)
			return nil
		}); err != nil {
			return err
		}
		if len(ids) > limit {
			ids = ids[:limit]
			changed.Next = changes[limit-1]
		}
		changed.Rooms, err = views(ctx, q, by, ids)
		return err
	})
	if err == nil && pruned {
		err = history.ErrPruned
	}
	return changed, err
}

// view reads a room as it is after the transaction's changes.
func (t *tx) view(id int64, to *history.Room) {
	t.last.Queue(viewQuery, "", []int64{id}, history.MaxUnread, history.UnreadSpan).QueryRow(func(row pgx.Row) (err error) {
		*to, err = scanRoom(row)
		return err
	})
}

// roomNow reads a locked room as it is before the transaction's changes.
func (t *tx) roomNow(ctx context.Context, id int64) (history.Room, error) {
	rooms, err := views(ctx, t.conn, history.Member{}, []int64{id})
	if err != nil {
		return history.Room{}, err
	}
	return rooms[0], nil
}

// conflict returns an ErrConflict with the room.
func (t *tx) conflict(ctx context.Context, id int64) error {
	room, err := t.roomNow(ctx, id)
	if err != nil {
		return err
	}
	return history.ErrConflict.Wrap("room", &history.Conflict{Room: &room})
}

// CreateRoom implements [history.Rooms]. Canceling ctx has an effect only until it is its turn.
func (s *Store) CreateRoom(ctx context.Context, room string, c history.Conversation) (view history.Room, err error) {
	if err := history.CheckConversation(room); err != nil {
		return view, err
	}
	if c, err = c.Prepare(); err != nil {
		return view, err
	}
	err = s.write(ctx, "create room", func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, []string{c.UserID}, []string{room}, nil); err != nil {
			return err
		}
		r := t.rooms[room]
		if !r.Absent {
			return t.conflict(ctx, r.ID)
		}
		if err := t.Begin(ctx, room, &r.Room, &c); err != nil {
			return err
		}
		t.Changed(history.RoomChanged, r.ID, r.Conversation.Change, 0)
		t.view(r.ID, &view)
		return nil
	})
	if err != nil {
		return history.Room{}, err
	}
	return view, nil
}

// UpdateRoom implements [history.Rooms]. Canceling ctx has an effect only until it is the update's turn.
func (s *Store) UpdateRoom(ctx context.Context, u history.RoomUpdate) (updated history.Updated, err error) {
	if u, err = u.Prepare(); err != nil {
		return updated, err
	}
	err = s.write(ctx, "update room", func(ctx context.Context, t *tx) error {
		updated = history.Updated{}
		return t.update(ctx, &u, &updated)
	})
	if err != nil {
		return history.Updated{}, err
	}
	return updated, nil
}

// update fills in the outcome, in which the room is complete after the commit.
func (t *tx) update(ctx context.Context, u *history.RoomUpdate, updated *history.Updated) error {
	var people []string
	if u.UserID != nil { // nobody else gives conversations to this user, or takes them
		people = append(people, *u.UserID)
	}
	if err := t.lock(ctx, people, notesOf(u.Note), []string{u.RoomID}); err != nil {
		return err
	}
	r := t.rooms[u.RoomID]
	if r == nil || r.Conversation == nil {
		return history.ErrNotFound
	}
	room, err := t.roomNow(ctx, r.ID)
	if err != nil {
		return err
	}
	updated.Changed, err = u.Apply(&room, history.TimeMilli(t.now))
	switch {
	case errors.Is(err, history.ErrConflict):
		return t.conflict(ctx, r.ID)
	case err != nil:
		return err
	case !updated.Changed:
		updated.Room = room
		return nil
	}
	if updated.Note, err = t.note(ctx, u.Note); err != nil {
		return err
	}
	labels := room.Labels
	if labels == nil {
		labels = []string{}
	}
	t.writes.Queue("UPDATE parley.rooms SET subject = nullif($2, ''), labels = $3, attributes = $4 WHERE id = $1",
		r.ID, room.Subject, labels, cell.Object(room.Attributes))
	r.Conversation.Set(&room)
	t.roomChanged(&r.Room)
	t.view(r.ID, &updated.Room)
	return nil
}
