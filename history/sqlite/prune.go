package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/pruning"
)

// prunableQuery selects the rooms that have something to prune, with their notes; see pruning.Room.
const prunableQuery = `SELECT id, room_id, head, floor, coalesce(note_id, 0), coalesce(note_head, 0), coalesce(note_floor, 0), first FROM (
	SELECT r.id, r.room_id, r.head, r.floor, r.user_id IS NULL OR r.status = 'closed' AS closed,
		n.id AS note_id, n.head AS note_head, n.floor AS note_floor,
		(SELECT timestamp FROM messages WHERE id > (r.id << 32) + r.floor AND id < (r.id + 1) << 32 ORDER BY id LIMIT 1) AS first,
		(SELECT timestamp FROM messages WHERE id > (n.id << 32) + n.floor AND id < (n.id + 1) << 32 ORDER BY id LIMIT 1) AS note
	FROM rooms r LEFT JOIN rooms n ON n.room_id = '~notes/' || r.room_id
	WHERE r.id > ?1 AND r.id <= ?2 AND r.room_id NOT GLOB '~*')
WHERE (closed OR NOT ?3) AND (first < ?4 OR note < ?4 OR ?5 > 0 AND (head - floor > ?5 OR floor > 0 AND note < first))
ORDER BY id`

// Prune implements [history.Pruner].
func (s *Store) Prune(ctx context.Context, rule history.PruneRule) (history.Pruned, error) {
	return s.prunings.Prune(ctx, rule, pruning.Database{Prunable: s.prunable, Measure: s.measure, Prune: s.prune})
}

// prunable is pruning.Database.Prunable.
func (s *Store) prunable(ctx context.Context, rule history.PruneRule, after int64) (rooms []pruning.Room, last int64, err error) {
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
		rows, err := r.conn.QueryContext(ctx, prunableQuery, after, last, rule.Closed, pruning.Before(rule), rule.Keep)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var p pruning.Room
			if err := rows.Scan(&p.Room.ID, &p.Room.Name, &p.Room.Head, &p.Room.Floor,
				&p.Notes.ID, &p.Notes.Head, &p.Notes.Floor, &p.First); err != nil {
				return err
			}
			p.Notes.Name = history.NotesRoom(p.Room.Name)
			rooms = append(rooms, p)
		}
		return rows.Err()
	})
	return rooms, last, err
}

// measure finds out what goes in a room and its notes.
func (s *Store) measure(ctx context.Context, rule history.PruneRule, room *pruning.Room) error {
	return s.read(ctx, func(r *reader) error {
		return room.Measure(rule, func(p pruning.Part, before int64, keep int) (int64, error) {
			return r.prunableUpTo(ctx, p, before, keep)
		})
	})
}

// prune is pruning.Database.Prune.
func (s *Store) prune(ctx context.Context, rule history.PruneRule, rooms []pruning.Room) (pruned history.Pruned, err error) {
	defer s.residue.Store(true)
	err = s.write(ctx, "prune", func(ctx context.Context, w *writer) error {
		pruned = history.Pruned{}
		return w.transact(ctx, func() error {
			if err := w.refresh(ctx); err != nil {
				return err
			}
			for i := range rooms {
				if err := w.prune(ctx, rule, &rooms[i], &pruned); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return history.Pruned{}, err
	}
	return pruned, nil
}

func (w *writer) prune(ctx context.Context, rule history.PruneRule, room *pruning.Room, p *history.Pruned) error {
	var still bool // not reopened, nor erased
	if err := w.conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM rooms
		WHERE id = ? AND (user_id IS NULL OR status = 'closed' OR NOT ?))`, room.Room.ID, rule.Closed).Scan(&still); err != nil || !still {
		return err
	}
	for _, part := range []pruning.Part{room.Room, room.Notes} {
		if part.UpTo == 0 {
			continue
		}
		n, err := w.deleteUpTo(ctx, part.ID, part.UpTo)
		if err != nil {
			return err
		}
		p.Messages += int(n)
		p.Rooms = append(p.Rooms, part.Name)
	}
	return nil
}

// prunableUpTo returns what pruning.Room.Measure wants. In a room, timestamps never decrease.
func (r *reader) prunableUpTo(ctx context.Context, p pruning.Part, before int64, keep int) (upTo int64, err error) {
	first, end := at(p.ID, p.Floor), (p.ID+1)<<32
	stays := int64(0) // everything with a smaller key goes, because of keep
	if keep > 0 && p.Head-p.Floor > int64(keep) {
		err := r.conn.QueryRowContext(ctx, "SELECT id FROM messages WHERE id > ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?",
			first, end, keep-1).Scan(&stays)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
	}
	err = r.conn.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) & 0xffffffff FROM (
		SELECT id, timestamp FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?)
		WHERE timestamp < ? OR id < ?`, first, end, pruning.Rows, before, stays).Scan(&upTo)
	return upTo, err
}

// deleteUpTo deletes the messages of a room up to a seq, and raises its floor.
func (w *writer) deleteUpTo(ctx context.Context, room, seq int64) (deleted int64, err error) {
	result, err := w.conn.ExecContext(ctx, "DELETE FROM messages WHERE id > ? AND id <= ?", room<<32, at(room, seq))
	if err != nil {
		return 0, err
	}
	w.Changed(history.MessagesPruned, room, seq, seq)
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
