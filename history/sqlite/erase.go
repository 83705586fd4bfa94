package sqlite

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/parley-go/parley/history"
)

// Erasing leaves no byte in any file, because:
//
//	the rows      are overwritten when they are deleted: the writing connection always does that
//	their copies  in unused parts of pages are overwritten afterwards; see scrubAll
//	the log       is moved into the database and emptied, which waits for those who read
//	the index     is a file of its own, of which the same is true
//
// It works in steps of some hundred messages or pages, so that others can write in between. The person
// goes last: an erasure that was interrupted can be repeated.

const (
	eraseRows = 1000   // messages that are erased in one commit
	scanRows  = 20_000 // messages that are looked at in one read

	lastRoomQuery = `SELECT max((SELECT coalesce(max(id), 0) FROM rooms),
		coalesce((SELECT CAST(v AS INTEGER) FROM meta WHERE k = 'last_room'), 0))`
)

// EraseUser implements [history.Eraser].
func (s *Store) EraseUser(ctx context.Context, userID string) (e history.Erased, err error) {
	f, err := s.findUser(ctx, userID)
	if err != nil {
		return e, err
	}
	if len(f.elsewhere) > 0 {
		if e.Changed, err = s.eraseElsewhere(ctx, f); err != nil {
			return e, err
		}
	}
	for _, room := range f.rooms {
		if err := s.eraseRoom(ctx, room, &e); err != nil {
			return e, err
		}
	}
	err = s.write(ctx, "erase a person", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() error {
			for _, statement := range []string{
				"DELETE FROM cursors WHERE member IN (SELECT 'u' || value FROM json_each(?))",
				"DELETE FROM people WHERE id IN (SELECT value FROM json_each(?))",
			} {
				if _, err := w.conn.ExecContext(ctx, statement, f.ids); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return e, err
	}
	return e, s.clean(ctx)
}

// EraseRoom implements [history.Eraser].
func (s *Store) EraseRoom(ctx context.Context, room string) (e history.Erased, err error) {
	if err := history.CheckRoom(room); err != nil {
		return e, err
	}
	if err := s.eraseRoom(ctx, room, &e); err != nil {
		return e, err
	}
	return e, s.clean(ctx)
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
	}
	for _, name := range f.rooms {
		err := s.read(ctx, func(r *reader) error {
			for _, part := range []string{name, history.NotesRoom(name)} {
				id, _, err := r.roomByName(ctx, part)
				if errors.Is(err, sql.ErrNoRows) {
					continue
				} else if err != nil {
					return err
				}
				var n int
				if err := r.conn.QueryRowContext(ctx, "SELECT count(*) FROM messages WHERE id > ? AND id < ?", id<<32, (id+1)<<32).Scan(&n); err != nil {
					return err
				}
				e.Messages += n
				if part == name {
					e.Rooms = append(e.Rooms, name)
				}
			}
			return nil
		})
		if err != nil {
			return e, err
		}
	}
	for _, id := range f.elsewhere {
		err := s.read(ctx, func(r *reader) error {
			var m history.Message
			err := messageByID(ctx, r.conn, id, &m)
			if err == nil {
				e.Changed = append(e.Changed, m)
			} else if errors.Is(err, sql.ErrNoRows) {
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

// found is what there is of a user.
type found struct {
	ids       string   // of the user and of the visitors that it was, as JSON
	rooms     []string // the user's conversations
	elsewhere []int64  // the user's messages in other rooms
}

// findUser finds what there is of a user at the moment of the call. It looks at all messages, in many
// short reads.
func (s *Store) findUser(ctx context.Context, userID string) (f found, err error) {
	var owned map[int64]bool
	err = s.read(ctx, func(r *reader) error {
		ids, err := column(ctx, r.conn, `WITH RECURSIVE ids(id) AS (
			SELECT ?1 UNION SELECT p.id FROM people p JOIN ids ON p.became = ids.id) SELECT id FROM ids`, userID)
		if err != nil {
			return err
		}
		text, err := json.Marshal(ids)
		if err != nil {
			return err
		}
		f.ids = string(text)
		rows, err := r.conn.QueryContext(ctx, `SELECT r.id, r.room_id, coalesce(n.id, 0) FROM rooms r
			LEFT JOIN rooms n ON n.room_id = '~notes/' || r.room_id
			WHERE r.user_id IN (SELECT value FROM json_each(?)) ORDER BY r.id`, f.ids)
		if err != nil {
			return err
		}
		defer rows.Close()
		owned = make(map[int64]bool)
		for rows.Next() {
			var id, notes int64
			var name string
			if err := rows.Scan(&id, &name, &notes); err != nil {
				return err
			}
			owned[id], owned[notes] = true, true
			f.rooms = append(f.rooms, name)
		}
		return rows.Err()
	})
	for after, last := int64(-1), int64(0); err == nil && after != last; {
		after = last
		err = s.read(ctx, func(r *reader) error {
			if err := r.conn.QueryRowContext(ctx, "SELECT coalesce(max(id), ?1) FROM (SELECT id FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2)",
				after, scanRows).Scan(&last); err != nil || last == after {
				return err
			}
			rows, err := r.conn.QueryContext(ctx, `SELECT id FROM messages
				WHERE id > ? AND id <= ? AND user_id IN (SELECT value FROM json_each(?)) ORDER BY id`, after, last, f.ids)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id int64
				if err := rows.Scan(&id); err != nil {
					return err
				}
				if !owned[id>>32] {
					f.elsewhere = append(f.elsewhere, id)
				}
			}
			return rows.Err()
		})
	}
	return f, err
}

// eraseElsewhere turns messages into tombstones whose author nobody knows.
func (s *Store) eraseElsewhere(ctx context.Context, f found) (changed []history.Message, err error) {
	var nobody string
	for ids := f.elsewhere; len(ids) > 0; {
		n := min(len(ids), eraseRows)
		var part []history.Message
		err := s.write(ctx, "erase messages", func(ctx context.Context, w *writer) error {
			return w.transact(ctx, func() (err error) {
				if err := w.refresh(ctx); err != nil {
					return err
				}
				if nobody == "" {
					if nobody, err = w.newNobody(ctx); err != nil {
						return err
					}
				}
				part, err = w.eraseMessages(ctx, ids[:n], f.ids, nobody, s.now().UnixMilli())
				w.version = -1 // it knows the heads
				return err
			})
		})
		if err != nil {
			return changed, err
		}
		changed, ids = append(changed, part...), ids[n:]
	}
	return changed, nil
}

// newNobody returns the next name for users that were erased.
func (w *writer) newNobody(ctx context.Context) (string, error) {
	var n int64
	err := w.conn.QueryRowContext(ctx, `INSERT INTO meta VALUES ('erased_users', '1')
		ON CONFLICT (k) DO UPDATE SET v = CAST(v AS INTEGER) + 1 RETURNING CAST(v AS INTEGER)`).Scan(&n)
	return "erased-" + strconv.FormatInt(n, 10), err
}

func (w *writer) eraseMessages(ctx context.Context, ids []int64, users, nobody string, now int64) (changed []history.Message, err error) {
	for _, id := range ids {
		var m history.Message
		var head, change int64
		err := w.conn.QueryRowContext(ctx, `UPDATE rooms SET head = head + 1,
			change = iif(user_id IS NULL, 0, 1 + (`+newestChangeQuery+`))
			WHERE id = ?1 >> 32 AND EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND user_id IN (SELECT value FROM json_each(?2)))
			RETURNING head, change`, id, users).Scan(&head, &change)
		if errors.Is(err, sql.ErrNoRows) {
			continue // pruned or erased meanwhile
		} else if err != nil {
			return nil, err
		}
		if _, err := w.conn.ExecContext(ctx, `UPDATE messages SET user_id = ?2, message = 'null', client_id = NULL, rev = ?3,
			edited_at = ?4, deleted = 1 WHERE id = ?1`, id, nobody, head, now); err != nil {
			return nil, err
		}
		if err := messageByID(ctx, w.conn, id, &m); err != nil {
			return nil, err
		}
		w.Changed(history.MessageChanged, id>>32, head, id&0xffffffff)
		if change > 0 {
			w.Changed(history.RoomChanged, id>>32, change, 0)
		}
		changed = append(changed, m)
	}
	return changed, nil
}

// eraseRoom deletes a room with its notes.
func (s *Store) eraseRoom(ctx context.Context, room string, e *history.Erased) error {
	for _, name := range []string{history.NotesRoom(room), room} {
		for done := false; !done; {
			var deleted int64
			existed := false
			err := s.write(ctx, "erase a room", func(ctx context.Context, w *writer) error {
				return w.transact(ctx, func() (err error) {
					deleted, existed, done, err = w.erasePart(ctx, name)
					return err
				})
			})
			if err != nil {
				return err
			}
			e.Messages += int(deleted)
			if done && existed && name == room {
				e.Rooms = append(e.Rooms, room)
			}
		}
	}
	return nil
}

// erasePart deletes the first messages of a room and, if it has no others, the room.
func (w *writer) erasePart(ctx context.Context, name string) (deleted int64, existed, done bool, err error) {
	if err := w.refresh(ctx); err != nil {
		return 0, false, false, err
	}
	var id, head, upTo int64
	var user string
	err = w.conn.QueryRowContext(ctx, "SELECT id, head, coalesce(user_id, '') FROM rooms WHERE room_id = ?", name).Scan(&id, &head, &user)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, true, nil
	} else if err != nil {
		return 0, false, false, err
	}
	err = w.conn.QueryRowContext(ctx, "SELECT id & 0xffffffff FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT 1 OFFSET ?",
		id<<32, (id+1)<<32, eraseRows).Scan(&upTo)
	if err == nil {
		deleted, err = w.deleteUpTo(ctx, id, upTo)
		return deleted, true, false, err
	} else if !errors.Is(err, sql.ErrNoRows) {
		return 0, false, false, err
	}
	w.version = -1 // it knows the room
	if deleted, err = w.deleteUpTo(ctx, id, head); err != nil {
		return 0, false, false, err
	}
	hash, err := w.erasedKey(ctx, name)
	if err != nil {
		return 0, false, false, err
	}
	for _, s := range []struct {
		statement string
		args      []any
	}{
		{"INSERT INTO erased VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET head = max(head, excluded.head)", []any{hash, head}},
		{"INSERT INTO meta VALUES ('last_room', (" + lastRoomQuery + ")) ON CONFLICT (k) DO UPDATE SET v = excluded.v", nil},
		{"DELETE FROM cursors WHERE room = ?", []any{id}},
		{"DELETE FROM rooms WHERE id = ?", []any{id}},
	} {
		if _, err := w.conn.ExecContext(ctx, s.statement, s.args...); err != nil {
			return 0, false, false, err
		}
	}
	if user != "" {
		// One that has seen all changes must load the list anew, too.
		_, err := w.conn.ExecContext(ctx, "INSERT INTO meta VALUES ('erased_change', 1 + ("+newestChangeQuery+")) ON CONFLICT (k) DO UPDATE SET v = excluded.v")
		if err != nil {
			return 0, false, false, err
		}
	}
	w.Changed(history.RoomErased, id, head, head)
	return deleted, true, true, nil
}

// erasedKey returns the key of a room among those that were erased.
func (w *writer) erasedKey(ctx context.Context, room string) ([]byte, error) {
	var key string
	if err := w.conn.QueryRowContext(ctx, "SELECT v FROM meta WHERE k = 'erased_key'").Scan(&key); err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(room))
	return h.Sum(nil)[:16], nil
}

// erasedHead returns the number after which a new room begins: 0, or its last one if it was erased.
func (w *writer) erasedHead(ctx context.Context, room string) (head int64, err error) {
	if !w.anyErased {
		return 0, nil
	}
	key, err := w.erasedKey(ctx, room)
	if err != nil {
		return 0, err
	}
	err = w.conn.QueryRowContext(ctx, "SELECT head FROM erased WHERE room = ?", key).Scan(&head)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return head, err
}

// clean removes the rest of what was erased from the files.
func (s *Store) clean(ctx context.Context) error {
	if err := s.index.clean(ctx); err != nil {
		return err
	}
	if err := scrubAll(ctx, func(f func(context.Context, *sql.Conn) error) error {
		return s.write(ctx, "scrub", func(ctx context.Context, w *writer) error {
			return w.transact(ctx, func() error { return f(ctx, w.conn) })
		})
	}); err != nil {
		return history.ErrUnavailable.Wrap("the erasure is not complete; repeat it", err)
	}
	return emptyLog(ctx, s.keeper, s.closed)
}

// emptyLog moves a write-ahead log into its database. It waits for those who read.
func emptyLog(ctx context.Context, conn *sql.Conn, closed <-chan struct{}) error {
	for {
		var busy, pages, moved int
		err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
		if err == nil && busy == 0 {
			return nil
		}
		if err != nil && !isBusy(err) {
			return history.ErrUnavailable.Wrap("empty the write-ahead log", err)
		}
		select {
		case <-time.After(lockEvery):
		case <-closed:
			return history.ErrClosed
		case <-ctx.Done():
			return history.ErrUnavailable.Wrap("the erasure is not complete, because the write-ahead log is being read; repeat it", ctx.Err())
		}
	}
}

// roomByName returns the number and the head of a room.
func (r *reader) roomByName(ctx context.Context, name string) (id, head int64, err error) {
	var floor int64
	err = r.room.QueryRowContext(ctx, name).Scan(&id, &head, &floor)
	return id, head, err
}

// messageByID reads a message with the name of its room.
func messageByID(ctx context.Context, conn *sql.Conn, id int64, m *history.Message) error {
	var room string
	if err := conn.QueryRowContext(ctx, "SELECT room_id FROM rooms WHERE id = ?", id>>32).Scan(&room); err != nil {
		return err
	}
	if err := scanMessage(conn.QueryRowContext(ctx, "SELECT "+columns+" FROM messages m WHERE id = ?", id), room, m); err != nil {
		return fmt.Errorf("message %d: %w", id, err)
	}
	return nil
}
