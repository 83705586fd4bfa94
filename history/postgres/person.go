package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
)

const personColumns = "id, coalesce(name, ''), coalesce(email, ''), attributes, verified, coalesce(became, ''), created_at, seen_at"

func scanPerson(row pgx.Row) (p history.Person, err error) {
	var attributes string
	var createdAt, seenAt int64
	err = row.Scan(&p.UserID, &p.Name, &p.Email, &attributes, &p.Verified, &p.Became, &createdAt, &seenAt)
	if attributes != "{}" {
		p.Attributes = json.RawMessage(attributes)
	}
	p.CreatedAt, p.SeenAt = history.TimeMilli(createdAt), history.TimeMilli(seenAt)
	return p, err
}

// Person implements [history.People].
func (s *Store) Person(ctx context.Context, userID string) (p history.Person, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) (err error) {
		p, err = scanPerson(q.QueryRow(ctx, "SELECT "+personColumns+" FROM parley.people WHERE id = $1", userID))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return history.Person{}, history.ErrNotFound
	}
	return p, err
}

// PutPerson implements [history.People]. Canceling ctx has an effect only until it is its turn.
func (s *Store) PutPerson(ctx context.Context, p history.Person) (put history.Person, err error) {
	if p, err = p.Prepare(); err != nil {
		return history.Person{}, err
	}
	err = s.write(ctx, "put person", func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, []string{p.UserID}, nil, nil); err != nil {
			return err
		}
		err := t.putPerson(p)
		put = t.people[p.UserID]
		return err
	})
	if err != nil {
		return history.Person{}, err
	}
	return put, nil
}

// putPerson stores what by says. If lists look different then, the user's conversations change. They and the
// person are locked.
func (t *tx) putPerson(by history.Person) error {
	p := t.people[by.UserID]
	shown, err := p.Put(by, history.TimeMilli(t.now))
	if err != nil {
		return err
	}
	t.people[p.UserID] = p
	t.writes.Queue(`INSERT INTO parley.people (id, name, email, attributes, verified, created_at, seen_at)
		VALUES ($1, nullif($2, ''), nullif($3, ''), $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email,
		attributes = excluded.attributes, verified = excluded.verified, seen_at = excluded.seen_at`,
		p.UserID, p.Name, p.Email, cell.Object(p.Attributes), p.Verified, p.CreatedAt.UnixMilli(), p.SeenAt.UnixMilli())
	if !shown {
		return nil
	}
	for _, name := range t.owned[p.UserID] {
		if r := t.rooms[name]; r != nil && r.Conversation != nil && r.Conversation.UserID == p.UserID {
			t.roomChanged(&r.Room)
		}
	}
	return nil
}

// Merge implements [history.People]. Canceling ctx has an effect only until it is its turn.
func (s *Store) Merge(ctx context.Context, visitor, user string, note func(room string) *history.Draft) (updated []history.Updated, err error) {
	if err := history.CheckMerge(visitor, user); err != nil {
		return nil, err
	}
	err = s.write(ctx, "merge", func(ctx context.Context, t *tx) (err error) {
		updated, err = t.merge(ctx, visitor, user, note)
		return err
	})
	if err != nil {
		return nil, err
	}
	return updated, nil
}

func (t *tx) merge(ctx context.Context, visitor, user string, note func(room string) *history.Draft) ([]history.Updated, error) {
	// The rooms of the notes must be locked together with the others.
	names, err := texts(ctx, t.conn, "SELECT room_id FROM parley.rooms WHERE user_id = $1 ORDER BY id", visitor)
	if err != nil {
		return nil, err
	}
	notes := make([]*history.Draft, len(names)) // all are valid, or nothing changes
	var notesRooms []string
	var invalid error
	for i, name := range names {
		d, err := history.PrepareNote(note, name)
		if err != nil {
			invalid = err
			break
		}
		if notes[i] = d; d != nil {
			notesRooms = append(notesRooms, d.RoomID)
		}
	}
	if invalid != nil {
		notesRooms = nil
	}
	slices.Sort(notesRooms)
	if err := t.lock(ctx, []string{visitor, user}, slices.Compact(notesRooms), nil); err != nil {
		return nil, err
	}
	v, u := t.people[visitor], t.people[user]
	if err := v.CanBecome(user, u); err != nil {
		return nil, err
	}
	if !slices.Equal(names, t.owned[visitor]) {
		return nil, errAgain // it has begun or lost a conversation meanwhile
	}
	if invalid != nil {
		return nil, invalid
	}
	for _, id := range []string{visitor, user} {
		if err := t.putPerson(history.Person{UserID: id}); err != nil {
			return nil, err
		}
	}
	t.writes.Queue("UPDATE parley.people SET became = $2 WHERE became = $1 OR id = $1", visitor, user)
	for _, name := range t.owned[user] {
		if r := t.rooms[name]; r != nil && r.Conversation != nil && r.Conversation.UserID == user {
			r.Conversation.Merged, r.Dirty = true, true
		}
	}
	updated := make([]history.Updated, len(names))
	for i, name := range names {
		r := t.rooms[name]
		if r == nil || r.Conversation == nil || r.Conversation.UserID != visitor {
			return nil, errAgain
		}
		var err error
		if updated[i].Note, err = t.note(ctx, notes[i]); err != nil {
			return nil, err
		}
		t.giveRoom(r.ID, visitor, user)
		r.Conversation.UserID, r.Conversation.Merged = user, true
		t.roomChanged(&r.Room)
		updated[i].Changed = true
		t.view(r.ID, &updated[i].Room)
	}
	return updated, nil
}

// giveRoom makes a visitor's read mark one of a user.
func (t *tx) giveRoom(room int64, visitor, user string) {
	t.writes.Queue(`INSERT INTO parley.cursors (room, member, read_seq, at)
		SELECT room, 'u' || $3::text, read_seq, at FROM parley.cursors WHERE room = $1 AND member = 'u' || $2::text
		ON CONFLICT (room, member) DO UPDATE SET read_seq = excluded.read_seq, at = excluded.at
		WHERE excluded.read_seq > cursors.read_seq`, room, visitor, user)
	t.writes.Queue("DELETE FROM parley.cursors WHERE room = $1 AND member = 'u' || $2::text", room, visitor)
}

// Identities implements [history.People].
func (s *Store) Identities(ctx context.Context, userID string) (ids []string, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		visitors, err := texts(ctx, q, "SELECT id FROM parley.people WHERE became = $1 ORDER BY id", userID)
		ids = append([]string{userID}, visitors...)
		return err
	})
	return ids, err
}
