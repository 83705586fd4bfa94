package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/parley-go/parley/history"
)

const (
	pruneRows  = 1000 // messages of a room that one commit deletes, and of its notes; rooms follow while there are fewer
	pruneRooms = 100  // rooms that one commit prunes at most
)

// prunableQuery selects the rooms that have something to prune, with their notes. If older messages
// were pruned because of their number, the notes from before the first message go as well.
const prunableQuery = `SELECT id, room_id, head, floor, coalesce(note_id, 0), coalesce(note_head, 0), coalesce(note_floor, 0), first FROM (
	SELECT r.id, r.room_id, r.head, r.floor, r.user_id IS NULL OR r.status = 'closed' AS closed,
		n.id AS note_id, n.head AS note_head, n.floor AS note_floor,
		(SELECT timestamp FROM messages WHERE id > (r.id << 32) + r.floor AND id < (r.id + 1) << 32 ORDER BY id LIMIT 1) AS first,
		(SELECT timestamp FROM messages WHERE id > (n.id << 32) + n.floor AND id < (n.id + 1) << 32 ORDER BY id LIMIT 1) AS note
	FROM rooms r LEFT JOIN rooms n ON n.room_id = '~notes/' || r.room_id
	WHERE r.id > ?1 AND r.id <= ?2 AND r.room_id NOT GLOB '~*')
WHERE (closed OR NOT ?3) AND (first < ?4 OR note < ?4 OR ?5 > 0 AND (head - floor > ?5 OR floor > 0 AND note < first))
ORDER BY id`

// part is a room of which something is pruned.
type part struct {
	id, head, floor int64
	name            string
	upTo            int64 // the largest seq that goes; 0: nothing does
}

// prunable is a room to prune, with its notes.
type prunable struct {
	room, notes part
	first       sql.NullInt64 // when the first message of the room was written
}

// Prune implements [history.Pruner].
func (s *Store) Prune(ctx context.Context, rule history.PruneRule) (p history.Pruned, err error) {
	if rule.Before.IsZero() && rule.Keep <= 0 {
		return p, nil
	}
	if rule.Room != "" {
		if err := history.CheckRoom(rule.Room); err != nil {
			return p, err
		}
	}
	after := s.prunings.Position(rule)
	defer func() { s.prunings.Advance(rule, after, rule.Room == "" && err == nil && p.More) }()
	rooms, last, err := s.prunable(ctx, rule, after)
	if err != nil {
		return p, err
	}
	var chunk []prunable
	size := 0
	for _, r := range rooms {
		if err := s.measure(ctx, rule, &r); err != nil {
			return p, err
		}
		n := r.room.rows() + r.notes.rows()
		if len(chunk) > 0 && size+n > pruneRows || len(chunk) == pruneRooms {
			break
		}
		if n > 0 {
			chunk = append(chunk, r)
			size += n
		} else if len(chunk) == 0 {
			after = r.room.id
		}
	}
	if len(chunk) == 0 {
		after, p.More = last, last > 0 && rule.Room == ""
		return p, nil
	}
	p.More = true // of these rooms, or of others
	return p, s.prune(ctx, rule, chunk, &p)
}

// before returns the time before which a rule selects messages, in milliseconds.
func before(rule history.PruneRule) int64 {
	if rule.Before.IsZero() {
		return math.MinInt64
	}
	return rule.Before.UnixMilli()
}

// prunable returns what there is to prune in the one room, or in those whose turn it is: up to last,
// which is 0 if there are no more rooms.
func (s *Store) prunable(ctx context.Context, rule history.PruneRule, after int64) (rooms []prunable, last int64, err error) {
	err = s.read(ctx, func(r *reader) error {
		query, arg := "SELECT coalesce(max(id), 0) FROM (SELECT id FROM rooms WHERE id > ? ORDER BY id LIMIT 500)", any(after)
		if rule.Room != "" {
			query, arg = "SELECT coalesce(max(id), 0) FROM rooms WHERE room_id = ?", rule.Room
		}
		if err := r.conn.QueryRowContext(ctx, query, arg).Scan(&last); err != nil || last == 0 {
			return err
		}
		if rule.Room != "" {
			after = last - 1
		}
		rows, err := r.conn.QueryContext(ctx, prunableQuery, after, last, rule.Closed, before(rule), rule.Keep)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var p prunable
			if err := rows.Scan(&p.room.id, &p.room.name, &p.room.head, &p.room.floor,
				&p.notes.id, &p.notes.head, &p.notes.floor, &p.first); err != nil {
				return err
			}
			p.notes.name = history.NotesRoom(p.room.name)
			rooms = append(rooms, p)
		}
		return rows.Err()
	})
	return rooms, last, err
}

// measure finds out what goes in a room and its notes, up to pruneRows messages of each.
func (s *Store) measure(ctx context.Context, rule history.PruneRule, room *prunable) error {
	return s.read(ctx, func(r *reader) (err error) {
		old := before(rule)
		if room.room.upTo, err = r.prunableUpTo(ctx, room.room, old, rule.Keep); err != nil {
			return err
		}
		if rule.Keep > 0 && room.room.floor > 0 && room.first.Valid {
			old = max(old, room.first.Int64)
		}
		room.notes.upTo, err = r.prunableUpTo(ctx, room.notes, old, 0)
		return err
	})
}

// rows returns how many messages go at most.
func (p *part) rows() int { return int(max(0, p.upTo-p.floor)) }

// prune deletes in one commit what goes in some rooms and their notes.
func (s *Store) prune(ctx context.Context, rule history.PruneRule, rooms []prunable, p *history.Pruned) error {
	var done history.Pruned
	defer s.residue.Store(true)
	err := s.write(ctx, "prune", func(ctx context.Context, w *writer) error {
		done = history.Pruned{}
		return w.transact(ctx, func() error {
			if err := w.refresh(ctx); err != nil {
				return err
			}
			for i := range rooms {
				if err := w.prune(ctx, rule, &rooms[i], &done); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	p.Messages, p.Rooms = done.Messages, done.Rooms
	return nil
}

func (w *writer) prune(ctx context.Context, rule history.PruneRule, room *prunable, p *history.Pruned) error {
	var still bool // not reopened, nor erased
	if err := w.conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM rooms
		WHERE id = ? AND (user_id IS NULL OR status = 'closed' OR NOT ?))`, room.room.id, rule.Closed).Scan(&still); err != nil || !still {
		return err
	}
	for _, part := range []part{room.room, room.notes} {
		if part.upTo == 0 {
			continue
		}
		n, err := w.deleteUpTo(ctx, part.id, part.upTo)
		if err != nil {
			return err
		}
		p.Messages += int(n)
		p.Rooms = append(p.Rooms, part.name)
	}
	return nil
}

// prunableUpTo returns the largest seq that goes among the first pruneRows messages: those from before
// a time, and those that are not among the newest keep. In a room, timestamps never decrease.
func (r *reader) prunableUpTo(ctx context.Context, p part, before int64, keep int) (upTo int64, err error) {
	first, end := at(p.id, p.floor), (p.id+1)<<32
	stays := int64(0) // everything with a smaller key goes, because of keep
	if keep > 0 && p.head-p.floor > int64(keep) {
		err := r.conn.QueryRowContext(ctx, "SELECT id FROM messages WHERE id > ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?",
			first, end, keep-1).Scan(&stays)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
	}
	err = r.conn.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) & 0xffffffff FROM (
		SELECT id, timestamp FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?)
		WHERE timestamp < ? OR id < ?`, first, end, pruneRows, before, stays).Scan(&upTo)
	return upTo, err
}

// deleteUpTo deletes the messages of a room up to a seq, and raises its floor.
func (w *writer) deleteUpTo(ctx context.Context, room, seq int64) (deleted int64, err error) {
	result, err := w.conn.ExecContext(ctx, "DELETE FROM messages WHERE id > ? AND id <= ?", room<<32, at(room, seq))
	if err != nil {
		return 0, err
	}
	w.changed(history.MessagesPruned, room, seq, seq)
	if err := w.raiseFloors(ctx, []int64{room, seq}); err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// raiseFloors raises the floors of rooms; each is followed by its floor.
func (w *writer) raiseFloors(ctx context.Context, floors []int64) error {
	for ; len(floors) > 0; floors = floors[2:] {
		if _, err := w.conn.ExecContext(ctx, "UPDATE rooms SET floor = max(floor, ?) WHERE id = ?", floors[1], floors[0]); err != nil {
			return err
		}
	}
	return nil
}
