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

const personQuery = `SELECT id, coalesce(name, ''), coalesce(email, ''), attributes, verified, coalesce(became, ''), created_at, seen_at
	FROM people WHERE id = ?`

// person runs personQuery. Nobody is a person without an id.
func person(ctx context.Context, stmt *sql.Stmt, userID string) (p history.Person, err error) {
	var attributes string
	var createdAt, seenAt int64
	err = stmt.QueryRowContext(ctx, userID).Scan(&p.UserID, &p.Name, &p.Email, &attributes, &p.Verified, &p.Became, &createdAt, &seenAt)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	if attributes != "{}" {
		p.Attributes = json.RawMessage(attributes)
	}
	p.CreatedAt, p.SeenAt = history.TimeMilli(createdAt), history.TimeMilli(seenAt)
	return p, err
}

func (b *batch) personOf(ctx context.Context, userID string) (history.Person, error) {
	return person(ctx, b.person, userID)
}

// Person implements [history.People].
func (s *Store) Person(ctx context.Context, userID string) (p history.Person, err error) {
	err = s.read(ctx, func(r *reader) (err error) {
		p, err = person(ctx, r.person, userID)
		return err
	})
	if err == nil && p.UserID == "" {
		err = history.ErrNotFound
	}
	return p, err
}

// PutPerson implements [history.People]. Canceling ctx has an effect only until it is its turn.
func (s *Store) PutPerson(ctx context.Context, p history.Person) (history.Person, error) {
	p, err := p.Prepare()
	if err != nil {
		return history.Person{}, err
	}
	var put history.Person
	err = s.together(ctx, "put person", func(ctx context.Context, b *batch) (err error) {
		put, err = b.putPerson(ctx, p)
		return err
	})
	if err != nil {
		return history.Person{}, err
	}
	return put, nil
}

// putPerson stores what by says. If lists look different then, the user's conversations change.
func (b *batch) putPerson(ctx context.Context, by history.Person) (history.Person, error) {
	p, err := b.personOf(ctx, by.UserID)
	if err != nil {
		return p, err
	}
	shown, err := p.Put(by, history.TimeMilli(b.now))
	if err != nil {
		return p, refused{err}
	}
	_, err = b.conn.ExecContext(ctx, `INSERT OR ROLLBACK INTO people (id, name, email, attributes, verified, created_at, seen_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email,
		attributes = excluded.attributes, verified = excluded.verified, seen_at = excluded.seen_at`,
		p.UserID, orNull(p.Name), orNull(p.Email), cell.Object(p.Attributes), p.Verified, p.CreatedAt.UnixMilli(), p.SeenAt.UnixMilli())
	if err != nil || !shown {
		return p, err
	}
	names, err := b.conversationsOf(ctx, p.UserID)
	if err != nil {
		return p, err
	}
	for _, name := range names {
		r, err := b.Room(ctx, name)
		if err != nil {
			return p, err
		}
		b.roomChanged(r)
	}
	return p, nil
}

// conversationsOf returns the conversations of a user, in the order of their creation.
func (b *batch) conversationsOf(ctx context.Context, userID string) ([]string, error) {
	return column(ctx, b.conn, "SELECT room_id FROM rooms INDEXED BY rooms_user WHERE user_id = ? ORDER BY id", userID)
}

// Merge implements [history.People]. Canceling ctx has an effect only until it is its turn.
func (s *Store) Merge(ctx context.Context, visitor, user string, note func(room string) *history.Draft) (updated []history.Updated, err error) {
	if err := history.CheckMerge(visitor, user); err != nil {
		return nil, err
	}
	err = s.together(ctx, "merge", func(ctx context.Context, b *batch) (err error) {
		updated, err = b.merge(ctx, visitor, user, note)
		return err
	})
	if err != nil {
		return nil, err
	}
	return updated, nil
}

func (b *batch) merge(ctx context.Context, visitor, user string, note func(room string) *history.Draft) ([]history.Updated, error) {
	v, err := b.personOf(ctx, visitor)
	if err != nil {
		return nil, err
	}
	u, err := b.personOf(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := v.CanBecome(user, u); err != nil {
		return nil, refused{err}
	}
	names, err := b.conversationsOf(ctx, visitor)
	if err != nil {
		return nil, err
	}
	notes := make([]*history.Draft, len(names)) // all are valid, or nothing changes
	for i, name := range names {
		if notes[i], err = history.PrepareNote(note, name); err != nil {
			return nil, refused{err}
		}
	}
	for _, id := range []string{visitor, user} {
		if _, err := b.putPerson(ctx, history.Person{UserID: id}); err != nil {
			return nil, err
		}
	}
	if _, err := b.conn.ExecContext(ctx, "UPDATE OR ROLLBACK people SET became = ?2 WHERE became = ?1 OR id = ?1", visitor, user); err != nil {
		return nil, err
	}
	updated := make([]history.Updated, len(names))
	for i, name := range names {
		if updated[i].Note, err = b.note(ctx, notes[i]); errors.As(err, new(refused)) {
			err = appending.ErrFull // there is no other reason; the transaction ends
		}
		if err != nil {
			return nil, err
		}
		r, err := b.Room(ctx, name)
		if err != nil {
			return nil, err
		}
		if err := b.giveRoom(ctx, r.ID, visitor, user); err != nil {
			return nil, err
		}
		r.Conversation.UserID, r.Conversation.Merged = user, true
		b.roomChanged(r)
		updated[i].Changed = true
		if updated[i].Room, err = b.viewOf(ctx, r.ID); err != nil {
			return nil, err
		}
	}
	return updated, nil
}

// giveRoom makes a visitor's room and read mark those of a user.
func (b *batch) giveRoom(ctx context.Context, room int64, visitor, user string) error {
	for _, statement := range []string{
		"UPDATE OR ROLLBACK rooms SET user_id = ?3 WHERE id = ?1",
		`INSERT OR ROLLBACK INTO cursors (room, member, read_seq, at)
			SELECT room, 'u' || ?3, read_seq, at FROM cursors WHERE room = ?1 AND member = 'u' || ?2
			ON CONFLICT (room, member) DO UPDATE SET read_seq = excluded.read_seq, at = excluded.at
			WHERE excluded.read_seq > cursors.read_seq`,
		"DELETE FROM cursors WHERE room = ?1 AND member = 'u' || ?2",
	} {
		if _, err := b.conn.ExecContext(ctx, statement, room, visitor, user); err != nil {
			return err
		}
	}
	return nil
}

// Identities implements [history.People].
func (s *Store) Identities(ctx context.Context, userID string) (ids []string, err error) {
	err = s.read(ctx, func(r *reader) error {
		rows, err := r.identities.QueryContext(ctx, userID)
		if err != nil {
			return err
		}
		defer rows.Close()
		ids = []string{userID}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	return ids, err
}
