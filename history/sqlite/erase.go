package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/erasing"
)

// Erasing leaves no byte in any file, because:
//
//	the rows      are overwritten when they are deleted: the writing connection always does that
//	their copies  in unused parts of pages are overwritten afterwards; see scrubAll
//	the log       is moved into the database and emptied, which waits for those who read
//	the index     is a file of its own, of which the same is true
//
// It works in steps of some hundred messages or pages, so that others can write in between.

const lastRoomQuery = `SELECT max((SELECT coalesce(max(id), 0) FROM rooms),
	coalesce((SELECT CAST(v AS INTEGER) FROM meta WHERE k = 'last_room'), 0))`

// EraseUser implements [history.Eraser].
func (s *Store) EraseUser(ctx context.Context, userID string) (history.Erased, error) {
	return s.erasing().User(ctx, userID)
}

// EraseRoom implements [history.Eraser].
func (s *Store) EraseRoom(ctx context.Context, room string) (history.Erased, error) {
	return s.erasing().Room(ctx, room)
}

// Erasing implements [history.Eraser].
func (s *Store) Erasing(ctx context.Context, userID, room string) (history.Erased, error) {
	return s.erasing().Preview(ctx, userID, room)
}

// erasing returns the steps of erasures in this database.
func (s *Store) erasing() erasing.Database[int64] {
	return erasing.Database[int64]{
		Find: s.findUser, Count: s.countErased, Message: s.erasedMessage,
		Nobody: s.newNobody, Messages: s.eraseMessages, Part: s.erasePart, Person: s.erasePerson, Clean: s.clean,
	}
}

// countErased is erasing.Database.Count.
func (s *Store) countErased(ctx context.Context, room string) (messages int, exists bool, err error) {
	err = s.read(ctx, func(r *reader) error {
		for _, part := range []string{room, history.NotesRoom(room)} {
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
			messages, exists = messages+n, exists || part == room
		}
		return nil
	})
	return messages, exists, err
}

// erasedMessage is erasing.Database.Message.
func (s *Store) erasedMessage(ctx context.Context, id int64) (messages []history.Message, err error) {
	err = s.read(ctx, func(r *reader) error {
		var m history.Message
		err := messageByID(ctx, r.conn, id, &m)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		messages = []history.Message{m}
		return err
	})
	return messages, err
}

// erasePerson is erasing.Database.Person.
func (s *Store) erasePerson(ctx context.Context, ids []string) error {
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	return s.write(ctx, "erase a person", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() error {
			for _, statement := range []string{
				"DELETE FROM cursors WHERE member IN (SELECT 'u' || value FROM json_each(?))",
				"DELETE FROM people WHERE id IN (SELECT value FROM json_each(?))",
			} {
				if _, err := w.conn.ExecContext(ctx, statement, string(list)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// findUser finds what there is of a user at the moment of the call. It looks at all messages, in many
// short reads.
func (s *Store) findUser(ctx context.Context, userID string) (f erasing.Found[int64], err error) {
	var owned map[int64]bool
	var list string // of ids, as JSON
	err = s.read(ctx, func(r *reader) (err error) {
		f.IDs, err = column(ctx, r.conn, `WITH RECURSIVE ids(id) AS (
			SELECT ?1 UNION SELECT p.id FROM people p JOIN ids ON p.became = ids.id) SELECT id FROM ids`, userID)
		if err != nil {
			return err
		}
		text, err := json.Marshal(f.IDs)
		if err != nil {
			return err
		}
		list = string(text)
		rows, err := r.conn.QueryContext(ctx, `SELECT r.id, r.room_id, coalesce(n.id, 0) FROM rooms r
			LEFT JOIN rooms n ON n.room_id = '~notes/' || r.room_id
			WHERE r.user_id IN (SELECT value FROM json_each(?)) ORDER BY r.id`, list)
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
			f.Rooms = append(f.Rooms, name)
		}
		return rows.Err()
	})
	for after, last := int64(-1), int64(0); err == nil && after != last; {
		after = last
		err = s.read(ctx, func(r *reader) error {
			if err := r.conn.QueryRowContext(ctx, "SELECT coalesce(max(id), ?1) FROM (SELECT id FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2)",
				after, erasing.Scan).Scan(&last); err != nil || last == after {
				return err
			}
			rows, err := r.conn.QueryContext(ctx, `SELECT id FROM messages
				WHERE id > ? AND id <= ? AND user_id IN (SELECT value FROM json_each(?)) ORDER BY id`, after, last, list)
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
					f.Elsewhere = append(f.Elsewhere, id)
				}
			}
			return rows.Err()
		})
	}
	return f, err
}

// newNobody is erasing.Database.Nobody.
func (s *Store) newNobody(ctx context.Context) (users int64, err error) {
	err = s.write(ctx, "erase messages", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() error {
			return w.conn.QueryRowContext(ctx, `INSERT INTO meta VALUES ('erased_users', '1')
				ON CONFLICT (k) DO UPDATE SET v = CAST(v AS INTEGER) + 1 RETURNING CAST(v AS INTEGER)`).Scan(&users)
		})
	})
	return users, err
}

// eraseMessages is erasing.Database.Messages.
func (s *Store) eraseMessages(ctx context.Context, ids []int64, users []string, nobody string) (changed []history.Message, err error) {
	list, err := json.Marshal(users)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "erase messages", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() (err error) {
			if err := w.refresh(ctx); err != nil {
				return err
			}
			changed, err = w.eraseMessages(ctx, ids, string(list), nobody, s.now().UnixMilli())
			w.version = -1 // it knows the heads
			return err
		})
	})
	return changed, err
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

// erasePart is erasing.Database.Part.
func (s *Store) erasePart(ctx context.Context, room string) (deleted int, existed, done bool, err error) {
	err = s.write(ctx, "erase a room", func(ctx context.Context, w *writer) error {
		return w.transact(ctx, func() (err error) {
			var n int64
			n, existed, done, err = w.erasePart(ctx, room)
			deleted = int(n)
			return err
		})
	})
	return deleted, existed, done, err
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
		id<<32, (id+1)<<32, erasing.Rows).Scan(&upTo)
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
	return erasing.RoomKey([]byte(key), room), nil
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
