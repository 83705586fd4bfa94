package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
	"github.com/parley-go/parley/history/internal/erasing"
)

// Erasing leaves nothing in any table. What the server keeps beside its tables is said in doc.go.

// erasedKey returns the key of a room among those that were erased.
func (s *Store) erasedKey(room string) []byte { return erasing.RoomKey(s.key, room) }

// EraseUser implements [history.Eraser]. See the package's documentation for what the server keeps.
func (s *Store) EraseUser(ctx context.Context, userID string) (history.Erased, error) {
	return s.erasing().User(ctx, userID)
}

// EraseRoom implements [history.Eraser]. See the package's documentation for what the server keeps.
func (s *Store) EraseRoom(ctx context.Context, room string) (history.Erased, error) {
	return s.erasing().Room(ctx, room)
}

// Erasing implements [history.Eraser].
func (s *Store) Erasing(ctx context.Context, userID, room string) (history.Erased, error) {
	return s.erasing().Preview(ctx, userID, room)
}

// erasing returns the steps of erasures in this database.
func (s *Store) erasing() erasing.Database[key] {
	return erasing.Database[key]{
		Find: s.findUser, Count: s.countErased, Message: s.erasedMessage,
		Nobody: s.newNobody, Messages: s.eraseMessages, Part: s.erasePart, Person: s.erasePerson, Clean: s.index.clean,
	}
}

// countErased is erasing.Database.Count.
func (s *Store) countErased(ctx context.Context, room string) (messages int, exists bool, err error) {
	err = s.one(ctx, `SELECT EXISTS (SELECT 1 FROM parley.rooms WHERE room_id = $1), (SELECT count(*) FROM parley.messages m
		JOIN parley.rooms r ON r.id = m.room WHERE r.room_id IN ($1, $2))`, []any{room, history.NotesRoom(room)}, &exists, &messages)
	return messages, exists, err
}

// erasedMessage is erasing.Database.Message.
func (s *Store) erasedMessage(ctx context.Context, k key) (messages []history.Message, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		var m history.Message
		err := message(ctx, q, k.name, k.room, k.seq, &m)
		messages = []history.Message{m}
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return messages, err
}

// erasePerson is erasing.Database.Person.
func (s *Store) erasePerson(ctx context.Context, ids []string) error {
	members := make([]string, len(ids))
	for i, id := range ids {
		members[i] = cell.Member(history.Member{UserID: id})
	}
	return s.write(ctx, "erase a person", func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, ids, nil, nil); err != nil {
			return err
		}
		t.writes.Queue("SET LOCAL statement_timeout = 0") // all marks are looked at
		t.writes.Queue("DELETE FROM parley.cursors WHERE member = ANY($1)", members)
		t.writes.Queue("DELETE FROM parley.people WHERE id = ANY($1)", ids)
		return nil
	})
}

// key is the key of a message.
type key struct {
	room, seq int64
	name      string // of the room
}

// findUser finds what there is of a user at the moment of the call. It looks at all messages, in many
// short reads.
func (s *Store) findUser(ctx context.Context, userID string) (f erasing.Found[key], err error) {
	err = s.snapshot(ctx, func(ctx context.Context, q querier) (err error) {
		f.IDs, err = texts(ctx, q, `WITH RECURSIVE ids(id) AS (
			SELECT $1::text COLLATE "C" UNION SELECT p.id FROM parley.people p JOIN ids ON p.became = ids.id) SELECT id FROM ids`, userID)
		if err == nil {
			f.Rooms, err = texts(ctx, q, "SELECT room_id FROM parley.rooms WHERE user_id = ANY($1) ORDER BY id", f.IDs)
		}
		return err
	})
	owned := make(map[string]bool)
	for _, name := range f.Rooms {
		owned[name], owned[history.NotesRoom(name)] = true, true
	}
	var after, last key
	for more := err == nil; more && err == nil; after = last {
		err = s.snapshot(ctx, func(ctx context.Context, q querier) error {
			err := q.QueryRow(ctx, `SELECT room, seq FROM (SELECT room, seq FROM parley.messages WHERE (room, seq) > ($1, $2)
				ORDER BY room, seq LIMIT $3) x ORDER BY room DESC, seq DESC LIMIT 1`, after.room, after.seq, erasing.Scan).Scan(&last.room, &last.seq)
			if errors.Is(err, pgx.ErrNoRows) {
				more = false
				return nil
			} else if err != nil {
				return err
			}
			rows, err := q.Query(ctx, `SELECT m.room, m.seq, r.room_id FROM parley.messages m JOIN parley.rooms r ON r.id = m.room
				WHERE (m.room, m.seq) > ($1, $2) AND (m.room, m.seq) <= ($3, $4) AND m.user_id = ANY($5) ORDER BY m.room, m.seq`,
				after.room, after.seq, last.room, last.seq, f.IDs)
			if err != nil {
				return err
			}
			var k key
			var found []key
			_, err = pgx.ForEachRow(rows, []any{&k.room, &k.seq, &k.name}, func() error {
				if !owned[k.name] {
					found = append(found, k)
				}
				return nil
			})
			if err == nil {
				f.Elsewhere = append(f.Elsewhere, found...)
			}
			return err
		})
	}
	return f, err
}

// newNobody is erasing.Database.Nobody.
func (s *Store) newNobody(ctx context.Context) (users int64, err error) {
	err = s.write(ctx, "erase messages", func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, nil, nil, nil); err != nil {
			return err
		}
		t.writes.Queue("UPDATE parley.counters SET erased_users = erased_users + 1 RETURNING erased_users").QueryRow(
			func(row pgx.Row) error { return row.Scan(&users) })
		return nil
	})
	return users, err
}

// eraseMessages is erasing.Database.Messages.
func (s *Store) eraseMessages(ctx context.Context, keys []key, users []string, nobody string) (changed []history.Message, err error) {
	err = s.write(ctx, "erase messages", func(ctx context.Context, t *tx) (err error) {
		changed, err = t.eraseMessages(ctx, keys, users, nobody)
		return err
	})
	return changed, err
}

func (t *tx) eraseMessages(ctx context.Context, keys []key, users []string, nobody string) (changed []history.Message, err error) {
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	slices.Sort(names)
	if err := t.lock(ctx, nil, nil, slices.Compact(names)); err != nil {
		return nil, err
	}
	for _, k := range keys {
		r := t.rooms[k.name]
		if r == nil || r.ID != k.room {
			continue // erased meanwhile
		}
		var m history.Message
		err := message(ctx, t.conn, k.name, k.room, k.seq, &m)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !slices.Contains(users, m.UserID) {
			continue // pruned, or erased by somebody else
		} else if err != nil {
			return nil, err
		}
		r.Head++
		t.Changed(history.MessageChanged, r.ID, r.Head, k.seq)
		r.Dirty = true
		if r.Conversation != nil {
			t.roomChanged(&r.Room)
		}
		m.UserID, m.ClientID, m.Message, m.Deleted = nobody, "", nil, true
		m.Rev, m.EditedAt = r.Head, history.TimeMilli(t.now)
		t.writes.Queue(`UPDATE parley.messages SET user_id = $3, message = 'null', client_id = NULL, rev = $4,
			edited_at = $5, deleted = true WHERE room = $1 AND seq = $2`, k.room, k.seq, nobody, m.Rev, t.now)
		changed = append(changed, m)
	}
	return changed, nil
}

// erasePart is erasing.Database.Part.
func (s *Store) erasePart(ctx context.Context, room string) (deleted int, existed, done bool, err error) {
	err = s.write(ctx, "erase a room", func(ctx context.Context, t *tx) (err error) {
		deleted = 0
		existed, done, err = t.erasePart(ctx, room, &deleted)
		return err
	})
	return deleted, existed, done, err
}

// erasePart deletes the first messages of a room and, if it has no others, the room.
func (t *tx) erasePart(ctx context.Context, name string, deleted *int) (existed, done bool, err error) {
	if err := t.lock(ctx, nil, nil, []string{name}); err != nil {
		return false, false, err
	}
	r := t.rooms[name]
	if r == nil {
		return false, true, nil
	}
	var upTo int64
	err = t.conn.QueryRow(ctx, "SELECT seq FROM parley.messages WHERE room = $1 ORDER BY seq LIMIT 1 OFFSET $2", r.ID, erasing.Rows).Scan(&upTo)
	if err == nil {
		t.deleteUpTo(r, upTo, deleted)
		return true, false, nil
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return false, false, err
	}
	t.deleteUpTo(r, r.Head, deleted)
	t.writes.Queue("INSERT INTO parley.erased VALUES ($1, $2) ON CONFLICT (room) DO UPDATE SET head = greatest(erased.head, excluded.head)",
		t.s.erasedKey(name), r.Head)
	t.writes.Queue("DELETE FROM parley.rooms WHERE id = $1", r.ID) // waits for marks that are being set
	t.writes.Queue("DELETE FROM parley.cursors WHERE room = $1", r.ID)
	t.Changed(history.RoomErased, r.ID, r.Head, r.Head)
	if r.Conversation != nil {
		// One that has seen all changes must load the list anew, too. The number of this change is the
		// first of the transaction.
		t.bumps++
		t.last.Queue("UPDATE parley.counters SET erased_change = change")
	}
	r.Dirty = false // it is gone
	t.s.known.forget(name)
	delete(t.rooms, name)
	return true, true, nil
}
