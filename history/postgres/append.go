package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
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
	originals, err := t.originals(ctx, drafts, results, replays)
	if err != nil {
		return err
	}
	return t.fill(drafts, results, originals)
}

// replayKey is the scope in which a message is stored once.
type replayKey struct {
	room             int64
	author, clientID string
}

// author is a member in the index messages_client and in the table cursors.
func author(m history.Member) string {
	if m.OperatorID != "" {
		return "o" + m.OperatorID
	}
	return "u" + m.UserID
}

// mergedInto reports whether the author of d may have sent the same message before as a visitor.
func (r *room) mergedInto(d *history.Draft) bool {
	return r.merged && d.OperatorID == "" && d.UserID == r.conversation.userID
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

// originals returns the messages that drafts repeat. It is nil if none is looked up: then nothing tells
// which client ids are known.
func (t *tx) originals(ctx context.Context, drafts []history.Draft, results []history.Appended, replays bool) (map[replayKey]history.Message, error) {
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
		again := r.conversation != nil && r.mergedInto(d)
		for _, c := range []struct {
			to     *columns
			wanted bool
		}{{&all, replays || again}, {&merged, again}} {
			if c.wanted {
				c.to.places, c.to.rooms = append(c.to.places, int32(i)), append(c.to.rooms, r.id)
				c.to.clients, c.to.author = append(c.to.clients, d.ClientID), append(c.to.author, author(d.Author()))
			}
		}
	}
	var originals map[replayKey]history.Message
	if replays {
		originals = make(map[replayKey]history.Message)
	}
	if len(all.places) == 0 {
		return originals, nil
	}
	originals = make(map[replayKey]history.Message)
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
				originals[replayKey{t.rooms[d.RoomID].id, author(d.Author()), d.ClientID}] = m
			}
			return rows.Err()
		})
	}
	return originals, t.send(ctx, &b)
}

// fill assigns numbers to the drafts whose rooms are locked.
func (t *tx) fill(drafts []history.Draft, results []history.Appended, originals map[replayKey]history.Message) error {
	for i := range drafts {
		d, result := &drafts[i], &results[i]
		if result.Err != nil {
			continue
		}
		r := t.rooms[d.RoomID]
		key := replayKey{r.id, author(d.Author()), d.ClientID}
		if original, found := originals[key]; found && d.ClientID != "" {
			*result = history.Appended{Message: original, Dup: true}
			if original.Rev == 0 && string(original.Message) != string(d.Message) {
				*result = history.Appended{Err: history.ErrKeyReuse}
			}
			continue
		}
		if r.head >= maxNumber {
			*result = history.Appended{Err: errRoomFull}
			continue
		}
		begins := r.absent && d.Conversation != nil
		if begins {
			if err := t.converse(d.RoomID, r, d.Conversation); err != nil {
				return err
			}
		}
		r.absent, r.dirty = false, true
		r.head++
		r.lastAt = max(r.lastAt, t.now)
		*result = history.Appended{Message: history.Message{
			ID:         messageID(r.id, r.head),
			RoomID:     d.RoomID,
			Seq:        r.head,
			UserID:     d.UserID,
			OperatorID: d.OperatorID,
			Message:    d.Message,
			Timestamp:  history.TimeMilli(r.lastAt),
			ClientID:   d.ClientID,
		}}
		if r.conversation != nil {
			r.conversation.receive(&result.Message, d.KeepOperator)
			if !begins {
				t.bump(r)
			}
		}
		t.changed(history.MessageAdded, r.id, r.head, r.head)
		t.messages.add(r.id, &result.Message)
		if originals != nil && d.ClientID != "" {
			originals[key] = result.Message
		}
	}
	return nil
}

// receive changes the conversation as a new message does, and tells an operator's message its user.
func (c *conversation) receive(m *history.Message, keep func(string) bool) {
	if m.OperatorID != "" {
		m.UserID = c.userID
	}
	r := history.Room{
		OperatorID: c.operatorID, Status: history.Status(c.status), ClosedAt: timeOf(c.closedAt), WaitingSince: timeOf(c.waitingAt),
	}
	r.Receive(m, keep)
	c.set(&r)
}

// set takes over what the transaction knows of r, except for its user.
func (c *conversation) set(r *history.Room) {
	c.operatorID, c.status = r.OperatorID, string(r.Status)
	c.closedAt, c.waitingAt = milliOf(r.ClosedAt), milliOf(r.WaitingSince)
}

// converse makes an absent room a conversation that has no messages yet, which is its first change. Its
// user is locked.
func (t *tx) converse(name string, r *room, c *history.Conversation) error {
	if err := t.putPerson(c.Person(t.people[c.UserID])); err != nil {
		return err
	}
	labels := c.Labels
	if labels == nil {
		labels = []string{}
	}
	r.conversation = &conversation{userID: c.UserID, status: string(history.Open)}
	t.bump(r)
	t.writes.Queue(`UPDATE parley.rooms SET created_at = $2, user_id = $3, subject = nullif($4, ''), labels = $5, attributes = $6, change = -id
		WHERE id = $1`, r.id, t.now, c.UserID, c.Subject, labels, object(c.Attributes))
	t.owned[c.UserID] = append(t.owned[c.UserID], name)
	r.absent, r.lastAt = false, t.now
	r.merged = t.merged[c.UserID]
	return nil
}

// object returns attributes as they are stored.
func object(attributes []byte) string {
	if attributes == nil {
		return "{}"
	}
	return string(attributes)
}

// note appends a note if it is not nil. Its room is locked.
func (t *tx) note(ctx context.Context, note *history.Draft) (*history.Message, error) {
	if note == nil {
		return nil, nil
	}
	drafts, result := []history.Draft{*note}, make([]history.Appended, 1)
	originals, err := t.originals(ctx, drafts, result, true)
	if err == nil {
		err = t.fill(drafts, result, originals)
	}
	if err == nil {
		err = result[0].Err
	}
	return &result[0].Message, err
}
