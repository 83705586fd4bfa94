package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
)

// Erasing leaves nothing in any table. It works in steps of some hundred messages, so that others can write
// in between. The person goes last: an erasure that was interrupted can be repeated. What the server keeps
// beside its tables is said in doc.go.

const (
	eraseRows = 1000   // messages that are erased in one commit
	scanRows  = 20_000 // messages that are looked at in one read
)

// erasedKey returns the key of a room among those that were erased.
func (s *Store) erasedKey(room string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(room))
	return h.Sum(nil)[:16]
}

// EraseUser implements [history.Eraser]. See the package's documentation for what the server keeps.
func (s *Store) EraseUser(ctx context.Context, userID string) (e history.Erased, err error) {
	f, err := s.findUser(ctx, userID)
	if err != nil {
		return e, err
	}
	if e.Changed, err = s.eraseElsewhere(ctx, f); err != nil {
		return e, err
	}
	for _, room := range f.rooms {
		if err := s.eraseRoom(ctx, room, &e); err != nil {
			return e, err
		}
	}
	members := make([]string, len(f.ids))
	for i, id := range f.ids {
		members[i] = "u" + id
	}
	err = s.write(ctx, "erase a person", func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, f.ids, nil, nil); err != nil {
			return err
		}
		t.writes.Queue("SET LOCAL statement_timeout = 0") // all marks are looked at
		t.writes.Queue("DELETE FROM parley.cursors WHERE member = ANY($1)", members)
		t.writes.Queue("DELETE FROM parley.people WHERE id = ANY($1)", f.ids)
		return nil
	})
	if err != nil {
		return e, err
	}
	return e, s.index.clean(ctx)
}

// EraseRoom implements [history.Eraser]. See the package's documentation for what the server keeps.
func (s *Store) EraseRoom(ctx context.Context, room string) (e history.Erased, err error) {
	if err := history.CheckRoom(room); err != nil {
		return e, err
	}
	if err := s.eraseRoom(ctx, room, &e); err != nil {
		return e, err
	}
	return e, s.index.clean(ctx)
}

// Erasing implements [history.Eraser].
func (s *Store) Erasing(ctx context.Context, userID, room string) (e history.Erased, err error) {
	var f found
	if room != "" {
		if err := history.CheckRoom(room); err != nil {
			return e, err
		}
		f.rooms = []string{room}
	}
	if userID != "" {
		user, err := s.findUser(ctx, userID)
		if err != nil {
			return e, err
		}
		f.rooms, f.elsewhere = append(f.rooms, user.rooms...), user.elsewhere
		slices.Sort(f.rooms)
		f.rooms = slices.Compact(f.rooms)
	}
	for _, name := range f.rooms {
		var exists bool
		var messages int
		err := s.one(ctx, `SELECT EXISTS (SELECT 1 FROM parley.rooms WHERE room_id = $1), (SELECT count(*) FROM parley.messages m
			JOIN parley.rooms r ON r.id = m.room WHERE r.room_id IN ($1, $2))`, []any{name, history.NotesRoom(name)}, &exists, &messages)
		if err != nil {
			return e, err
		}
		e.Messages += messages
		if exists {
			e.Rooms = append(e.Rooms, name)
		}
	}
	for _, key := range f.elsewhere {
		err := s.read(ctx, func(ctx context.Context, q querier) error {
			var m history.Message
			err := message(ctx, q, key.name, key.room, key.seq, &m)
			if err == nil {
				e.Changed = append(e.Changed, m)
			} else if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return err
		})
		if err != nil {
			return e, err
		}
	}
	return e, nil
}

// key is the key of a message.
type key struct {
	room, seq int64
	name      string // of the room
}

// found is what there is of a user.
type found struct {
	ids       []string // of the user and of the visitors that it was
	rooms     []string // the user's conversations
	elsewhere []key    // the user's messages in other rooms
}

// findUser finds what there is of a user at the moment of the call. It looks at all messages, in many
// short reads.
func (s *Store) findUser(ctx context.Context, userID string) (f found, err error) {
	err = s.snapshot(ctx, func(ctx context.Context, q querier) (err error) {
		f.ids, err = texts(ctx, q, `WITH RECURSIVE ids(id) AS (
			SELECT $1::text COLLATE "C" UNION SELECT p.id FROM parley.people p JOIN ids ON p.became = ids.id) SELECT id FROM ids`, userID)
		if err == nil {
			f.rooms, err = texts(ctx, q, "SELECT room_id FROM parley.rooms WHERE user_id = ANY($1) ORDER BY id", f.ids)
		}
		return err
	})
	owned := make(map[string]bool)
	for _, name := range f.rooms {
		owned[name], owned[history.NotesRoom(name)] = true, true
	}
	var after, last key
	for more := err == nil; more && err == nil; after = last {
		err = s.snapshot(ctx, func(ctx context.Context, q querier) error {
			err := q.QueryRow(ctx, `SELECT room, seq FROM (SELECT room, seq FROM parley.messages WHERE (room, seq) > ($1, $2)
				ORDER BY room, seq LIMIT $3) x ORDER BY room DESC, seq DESC LIMIT 1`, after.room, after.seq, scanRows).Scan(&last.room, &last.seq)
			if errors.Is(err, pgx.ErrNoRows) {
				more = false
				return nil
			} else if err != nil {
				return err
			}
			rows, err := q.Query(ctx, `SELECT m.room, m.seq, r.room_id FROM parley.messages m JOIN parley.rooms r ON r.id = m.room
				WHERE (m.room, m.seq) > ($1, $2) AND (m.room, m.seq) <= ($3, $4) AND m.user_id = ANY($5) ORDER BY m.room, m.seq`,
				after.room, after.seq, last.room, last.seq, f.ids)
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
				f.elsewhere = append(f.elsewhere, found...)
			}
			return err
		})
	}
	return f, err
}

// eraseElsewhere turns messages into tombstones whose author nobody knows.
func (s *Store) eraseElsewhere(ctx context.Context, f found) (changed []history.Message, err error) {
	if len(f.elsewhere) == 0 {
		return nil, nil
	}
	var users int64
	err = s.write(ctx, "erase messages", func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, nil, nil, nil); err != nil {
			return err
		}
		t.writes.Queue("UPDATE parley.counters SET erased_users = erased_users + 1 RETURNING erased_users").QueryRow(
			func(row pgx.Row) error { return row.Scan(&users) })
		return nil
	})
	nobody := "erased-" + strconv.FormatInt(users, 10)
	for keys := f.elsewhere; err == nil && len(keys) > 0; {
		n := min(len(keys), eraseRows)
		var part []history.Message
		err = s.write(ctx, "erase messages", func(ctx context.Context, t *tx) (err error) {
			part, err = t.eraseMessages(ctx, keys[:n], f.ids, nobody)
			return err
		})
		if err == nil {
			changed, keys = append(changed, part...), keys[n:]
		}
	}
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

// eraseRoom deletes a room with its notes.
func (s *Store) eraseRoom(ctx context.Context, room string, e *history.Erased) error {
	for _, name := range []string{history.NotesRoom(room), room} {
		for done := false; !done; {
			deleted, existed := 0, false
			err := s.write(ctx, "erase a room", func(ctx context.Context, t *tx) (err error) {
				deleted = 0
				existed, done, err = t.erasePart(ctx, name, &deleted)
				return err
			})
			if err != nil {
				return err
			}
			e.Messages += deleted
			if done && existed && name == room {
				e.Rooms = append(e.Rooms, room)
			}
		}
	}
	return nil
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
	err = t.conn.QueryRow(ctx, "SELECT seq FROM parley.messages WHERE room = $1 ORDER BY seq LIMIT 1 OFFSET $2", r.ID, eraseRows).Scan(&upTo)
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
