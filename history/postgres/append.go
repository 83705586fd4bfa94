package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/appending"
	"github.com/parley-go/parley/history/internal/cell"
)

// Append implements [history.Store]. Canceling ctx has an effect only until it is the batch's turn. If the
// connection is lost during the commit, and all drafts have client ids, Append finds out by them what was
// stored; these are then replays.
func (s *Store) Append(ctx context.Context, drafts []history.Draft) ([]history.Appended, error) {
	results := make([]history.Appended, len(drafts))
	prepared := make([]history.Draft, len(drafts))
	repeatable := true
	for i, d := range drafts {
		prepared[i], results[i].Err = d.Prepare()
		repeatable = repeatable && (d.ClientID != "" || results[i].Err != nil)
	}
	refusedAtFirst := slices.Clone(results)
	attempt := func(replays bool) error {
		return s.write(ctx, "append", func(ctx context.Context, t *tx) error {
			copy(results, refusedAtFirst)
			return t.append(ctx, prepared, results, replays)
		})
	}
	err := attempt(false)
	if sqlState(err) == uniqueViolation {
		err = attempt(true) // a client id is already known, which is rare
	}
	if errors.Is(err, history.ErrUnknownOutcome) && repeatable {
		if e := attempt(true); e == nil || !errors.Is(e, history.ErrUnavailable) {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// append locks the rooms and fills in the results. If replays is true, it looks up each client id first.
// Otherwise a known client id makes the commit fail.
func (t *tx) append(ctx context.Context, drafts []history.Draft, results []history.Appended, replays bool) error {
	var rooms, people []string // rooms in the order in which they are numbered if they are new
	seen := make(map[string]bool)
	for i := range drafts {
		if d := &drafts[i]; results[i].Err == nil {
			if !seen[d.RoomID] {
				seen[d.RoomID] = true
				rooms = append(rooms, d.RoomID)
			}
			if d.Conversation != nil && !t.s.known.has(d.RoomID) {
				people = append(people, d.Conversation.UserID)
			}
		}
	}
	slices.Sort(people)
	if err := t.lock(ctx, slices.Compact(people), rooms, nil); err != nil {
		return err
	}
	return t.number(ctx, drafts, results, replays)
}

// number gives numbers to the drafts, whose rooms are locked.
func (t *tx) number(ctx context.Context, drafts []history.Draft, results []history.Appended, replays bool) (err error) {
	if t.originals, err = t.lookUp(ctx, drafts, results, replays); err != nil {
		return err
	}
	return appending.Append(ctx, t, drafts, results, t.now)
}

const (
	replayQuery = "SELECT x.i, r.room_id, " + columns + ` FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[]) AS x(i, room, client, author)
		JOIN parley.rooms r ON r.id = x.room JOIN parley.messages m ON m.client_id = x.client AND m.room = x.room
		AND (CASE WHEN m.operator_id IS NULL THEN 'u' || m.user_id ELSE 'o' || m.operator_id END) = x.author`

	// replayMergedQuery finds messages of visitors that have become users.
	replayMergedQuery = "SELECT x.i, r.room_id, " + columns + ` FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[]) AS x(i, room, client, author)
		JOIN parley.rooms r ON r.id = x.room JOIN parley.messages m ON m.client_id = x.client AND m.room = x.room AND m.operator_id IS NULL
		JOIN parley.people p ON p.id = m.user_id AND p.became = substr(x.author, 2)`
)

// lookUp returns the messages that drafts repeat. It is nil if none is looked up: then nothing tells
// which client ids are known.
func (t *tx) lookUp(ctx context.Context, drafts []history.Draft, results []history.Appended, replays bool) (map[appending.Key]history.Message, error) {
	type columns struct {
		places          []int32
		rooms           []int64
		clients, author []string
	}
	var all, merged columns
	for i := range drafts {
		d := &drafts[i]
		if results[i].Err != nil || d.ClientID == "" {
			continue
		}
		r := t.rooms[d.RoomID]
		again := r.Conversation.MergedInto(d)
		for _, c := range []struct {
			to     *columns
			wanted bool
		}{{&all, replays || again}, {&merged, again}} {
			if c.wanted {
				c.to.places, c.to.rooms = append(c.to.places, int32(i)), append(c.to.rooms, r.ID)
				c.to.clients, c.to.author = append(c.to.clients, d.ClientID), append(c.to.author, cell.Member(d.Author()))
			}
		}
	}
	var originals map[appending.Key]history.Message
	if replays {
		originals = make(map[appending.Key]history.Message)
	}
	if len(all.places) == 0 {
		return originals, nil
	}
	originals = make(map[appending.Key]history.Message)
	var b pgx.Batch
	for _, q := range []struct {
		sql  string
		args *columns
	}{{replayMergedQuery, &merged}, {replayQuery, &all}} { // a message of the user itself comes last, and counts
		b.Queue(q.sql, q.args.places, q.args.rooms, q.args.clients, q.args.author).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var m history.Message
				var place int32
				if err := scanMessage(rows, "", &m, &place, &m.RoomID); err != nil {
					return err
				}
				d := &drafts[place]
				m.RoomID = d.RoomID
				originals[appending.KeyOf(t.rooms[d.RoomID].ID, d.Author(), d.ClientID)] = m
			}
			return rows.Err()
		})
	}
	return originals, t.send(ctx, &b)
}

// Room implements [appending.Transaction]. The room is locked.
func (t *tx) Room(_ context.Context, name string) (*appending.Room, error) {
	return &t.rooms[name].Room, nil
}

// Original implements [appending.Transaction].
func (t *tx) Original(_ context.Context, r *appending.Room, d *history.Draft) (m history.Message, found bool, err error) {
	if t.originals != nil {
		m, found = t.originals[appending.KeyOf(r.ID, d.Author(), d.ClientID)]
	}
	return m, found, nil
}

// Add implements [appending.Transaction].
func (t *tx) Add(r *appending.Room, m *history.Message) {
	t.messages.add(r.ID, m)
	if t.originals != nil && m.ClientID != "" {
		t.originals[appending.KeyOf(r.ID, m.Author(), m.ClientID)] = *m
	}
}

// Begin implements [appending.Transaction]. The user is locked.
func (t *tx) Begin(_ context.Context, name string, r *appending.Room, c *history.Conversation) error {
	if err := t.putPerson(c.Person(t.people[c.UserID])); err != nil {
		return err
	}
	labels := c.Labels
	if labels == nil {
		labels = []string{}
	}
	r.Conversation = &appending.Conversation{UserID: c.UserID, Status: history.Open, Merged: t.merged[c.UserID]}
	t.Bump(r)
	t.writes.Queue(`UPDATE parley.rooms SET created_at = $2, user_id = $3, subject = nullif($4, ''), labels = $5, attributes = $6, change = -id
		WHERE id = $1`, r.ID, t.now, c.UserID, c.Subject, labels, cell.Object(c.Attributes))
	t.owned[c.UserID] = append(t.owned[c.UserID], name)
	r.Absent, r.LastAt = false, t.now
	return nil
}

// note appends a note if it is not nil. Its room is locked.
func (t *tx) note(ctx context.Context, note *history.Draft) (*history.Message, error) {
	if note == nil {
		return nil, nil
	}
	drafts, result := []history.Draft{*note}, make([]history.Appended, 1)
	err := t.number(ctx, drafts, result, true)
	if err == nil {
		err = result[0].Err
	}
	return &result[0].Message, err
}
