package postgres

import (
	"context"
	"errors"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
		(SELECT timestamp FROM parley.messages WHERE room = r.id AND seq > r.floor ORDER BY seq LIMIT 1) AS first,
		(SELECT timestamp FROM parley.messages WHERE room = n.id AND seq > n.floor ORDER BY seq LIMIT 1) AS note
	FROM parley.rooms r LEFT JOIN parley.rooms n ON n.room_id = '~notes/' || r.room_id
	WHERE r.id > $1 AND r.id <= $2 AND NOT starts_with(r.room_id, '~')) x
WHERE (closed OR NOT $3) AND (first < $4 OR note < $4 OR $5::bigint > 0 AND (head - floor > $5 OR floor > 0 AND note < first))
ORDER BY id`

// pruned is a room of which something is pruned.
type pruned struct {
	id, head, floor int64
	name            string
	upTo            int64 // the largest seq that goes; 0: nothing does
}

// rows returns how many messages go at most.
func (p *pruned) rows() int { return int(max(0, p.upTo-p.floor)) }

// prunable is a room to prune, with its notes.
type prunable struct {
	room, notes pruned
	first       *int64 // when the first message of the room was written
}

// Prune implements [history.Pruner]. What is deleted stays in the files of the server until it is vacuumed
// and overwritten. Several nodes may prune at the same time.
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
		rows, err := q.Query(ctx, prunableQuery, after, last, rule.Closed, before(rule), rule.Keep)
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
	return s.snapshot(ctx, func(ctx context.Context, q querier) (err error) {
		old := before(rule)
		if room.room.upTo, err = prunableUpTo(ctx, q, room.room, old, rule.Keep); err != nil {
			return err
		}
		if rule.Keep > 0 && room.room.floor > 0 && room.first != nil {
			old = max(old, *room.first)
		}
		room.notes.upTo, err = prunableUpTo(ctx, q, room.notes, old, 0)
		return err
	})
}

// prunableUpTo returns the largest seq that goes among the first pruneRows messages: those from before
// a time, and those that are not among the newest keep. In a room, timestamps never decrease.
func prunableUpTo(ctx context.Context, q querier, p pruned, before int64, keep int) (upTo int64, err error) {
	stays := int64(0) // everything with a smaller seq goes, because of keep
	if keep > 0 && p.head-p.floor > int64(keep) {
		err := q.QueryRow(ctx, "SELECT seq FROM parley.messages WHERE room = $1 AND seq > $2 ORDER BY seq DESC LIMIT 1 OFFSET $3",
			p.id, p.floor, keep-1).Scan(&stays)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return 0, err
		}
	}
	err = q.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM (
		SELECT seq, timestamp FROM parley.messages WHERE room = $1 AND seq > $2 ORDER BY seq LIMIT $3) x
		WHERE timestamp < $4 OR seq < $5`, p.id, p.floor, pruneRows, before, stays).Scan(&upTo)
	return upTo, err
}

// prune deletes in one commit what goes in some rooms and their notes.
func (s *Store) prune(ctx context.Context, rule history.PruneRule, rooms []prunable, p *history.Pruned) error {
	var done history.Pruned
	err := s.write(ctx, "prune", func(ctx context.Context, t *tx) error {
		done = history.Pruned{}
		var names []string
		for _, r := range rooms {
			names = append(names, r.room.name, r.notes.name)
		}
		if err := t.lock(ctx, nil, nil, names); err != nil {
			return err
		}
		for _, r := range rooms {
			now := t.rooms[r.room.name]
			if now == nil || now.id != r.room.id || rule.Closed && now.conversation != nil && now.conversation.status != string(history.Closed) {
				continue // erased or reopened meanwhile
			}
			for _, part := range []pruned{r.room, r.notes} {
				if now := t.rooms[part.name]; part.upTo > 0 && now != nil && now.id == part.id {
					t.deleteUpTo(now, part.upTo, &done.Messages)
					done.Rooms = append(done.Rooms, part.name)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.Messages, p.Rooms = done.Messages, done.Rooms
	return nil
}

// deleteUpTo deletes the messages of a room up to a seq, counts them, and raises the room's floor.
func (t *tx) deleteUpTo(r *room, seq int64, deleted *int) {
	t.writes.Queue("DELETE FROM parley.messages WHERE room = $1 AND seq <= $2", r.id, seq).Exec(func(tag pgconn.CommandTag) error {
		*deleted += int(tag.RowsAffected())
		return nil
	})
	t.changed(history.MessagesPruned, r.id, seq, seq)
	r.floor, r.dirty = max(r.floor, seq), true
}
