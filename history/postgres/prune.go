package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/pruning"
)

// prunableQuery selects the rooms that have something to prune, with their notes; see pruning.Room.
const prunableQuery = `SELECT id, room_id, head, floor, coalesce(note_id, 0), coalesce(note_head, 0), coalesce(note_floor, 0), first FROM (
	SELECT r.id, r.room_id, r.head, r.floor, r.user_id IS NULL OR r.status = 'closed' AS closed,
		n.id AS note_id, n.head AS note_head, n.floor AS note_floor,
		(SELECT timestamp FROM parley.messages WHERE room = r.id AND seq > r.floor ORDER BY seq LIMIT 1) AS first,
		(SELECT timestamp FROM parley.messages WHERE room = n.id AND seq > n.floor ORDER BY seq LIMIT 1) AS note
	FROM parley.rooms r LEFT JOIN parley.rooms n ON n.room_id = '~notes/' || r.room_id
	WHERE r.id > $1 AND r.id <= $2 AND NOT starts_with(r.room_id, '~')) x
WHERE (closed OR NOT $3) AND (first < $4 OR note < $4 OR $5::bigint > 0 AND (head - floor > $5 OR floor > 0 AND note < first))
ORDER BY id`

// Prune implements [history.Pruner]. What is deleted stays in the files of the server until it is vacuumed
// and overwritten. Several nodes may prune at the same time.
func (s *Store) Prune(ctx context.Context, rule history.PruneRule) (history.Pruned, error) {
	return s.prunings.Prune(ctx, rule, pruning.Database{Prunable: s.prunable, Measure: s.measure, Prune: s.prune})
}

// prunable is pruning.Database.Prunable.
func (s *Store) prunable(ctx context.Context, rule history.PruneRule, after int64) (rooms []pruning.Room, last int64, err error) {
	err = s.snapshot(ctx, func(ctx context.Context, q querier) error {
		rooms = nil
		query, arg := "SELECT coalesce(max(id), 0) FROM (SELECT id FROM parley.rooms WHERE id > $1 ORDER BY id LIMIT 500) x", any(after)
		if rule.Room != "" {
			query, arg = "SELECT coalesce(max(id), 0) FROM parley.rooms WHERE room_id = $1", rule.Room
		}
		if err := q.QueryRow(ctx, query, arg).Scan(&last); err != nil || last == 0 {
			return err
		}
		if rule.Room != "" {
			after = last - 1
		}
		rows, err := q.Query(ctx, prunableQuery, after, last, rule.Closed, pruning.Before(rule), rule.Keep)
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
	return s.snapshot(ctx, func(ctx context.Context, q querier) error {
		return room.Measure(rule, func(p pruning.Part, before int64, keep int) (int64, error) {
			return prunableUpTo(ctx, q, p, before, keep)
		})
	})
}

// prunableUpTo returns what pruning.Room.Measure wants. In a room, timestamps never decrease.
func prunableUpTo(ctx context.Context, q querier, p pruning.Part, before int64, keep int) (upTo int64, err error) {
	stays := int64(0) // everything with a smaller seq goes, because of keep
	if keep > 0 && p.Head-p.Floor > int64(keep) {
		err := q.QueryRow(ctx, "SELECT seq FROM parley.messages WHERE room = $1 AND seq > $2 ORDER BY seq DESC LIMIT 1 OFFSET $3",
			p.ID, p.Floor, keep-1).Scan(&stays)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return 0, err
		}
	}
	err = q.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM (
		SELECT seq, timestamp FROM parley.messages WHERE room = $1 AND seq > $2 ORDER BY seq LIMIT $3) x
		WHERE timestamp < $4 OR seq < $5`, p.ID, p.Floor, pruning.Rows, before, stays).Scan(&upTo)
	return upTo, err
}

// prune is pruning.Database.Prune.
func (s *Store) prune(ctx context.Context, rule history.PruneRule, rooms []pruning.Room) (pruned history.Pruned, err error) {
	err = s.write(ctx, "prune", func(ctx context.Context, t *tx) error {
		pruned = history.Pruned{}
		var names []string
		for _, r := range rooms {
			names = append(names, r.Room.Name, r.Notes.Name)
		}
		if err := t.lock(ctx, nil, nil, names); err != nil {
			return err
		}
		for _, r := range rooms {
			now := t.rooms[r.Room.Name]
			if now == nil || now.ID != r.Room.ID || rule.Closed && now.Conversation != nil && now.Conversation.Status != history.Closed {
				continue
			}
			for _, part := range []pruning.Part{r.Room, r.Notes} {
				if now := t.rooms[part.Name]; part.UpTo > 0 && now != nil && now.ID == part.ID {
					t.deleteUpTo(now, part.UpTo, &pruned.Messages)
					pruned.Rooms = append(pruned.Rooms, part.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		return history.Pruned{}, err
	}
	return pruned, nil
}

// deleteUpTo deletes the messages of a room up to a seq, counts them, and raises the room's floor.
func (t *tx) deleteUpTo(r *room, seq int64, deleted *int) {
	t.writes.Queue("DELETE FROM parley.messages WHERE room = $1 AND seq <= $2", r.ID, seq).Exec(func(tag pgconn.CommandTag) error {
		*deleted += int(tag.RowsAffected())
		return nil
	})
	t.Changed(history.MessagesPruned, r.ID, seq, seq)
	r.floor, r.Dirty = max(r.floor, seq), true
}
