package chat

import (
	"cmp"
	"context"
	"strings"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// Requests and answers of rooms.
type (
	JoinRequest = conversation.JoinRequest
	Joined      = conversation.Joined
	Member      = conversation.Member
)

// Join makes the client a member of a room, under the identity who. It calls answer before any live
// message and before the others in the room learn of it. answer must not block. If Join fails, it
// does not call answer. Joining again is harmless: the client receives a new page, and live
// messages continue after it.
func (c *Client) Join(ctx context.Context, who Principal, q JoinRequest, answer func(Joined)) error {
	s := c.service
	from, err := s.openOptions(&q)
	if err != nil {
		return err
	}
	if who, err = c.principal(who); err != nil {
		return err
	}
	if err := s.afford(ctx, budget.Joins, &c.joins, 1); err != nil {
		return err
	}
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return err
	}
	defer cancel()
	before := s.changes.Load()
	can, row, err := s.access(reading, who, c.actor(who), q.RoomID)
	if err != nil {
		return err
	}
	if err := can.need(auth.Read); err != nil {
		return err
	}
	if q.Notes {
		if err := can.operator(); err != nil {
			return err
		}
	}
	old := c.memberships[q.RoomID]
	if old != nil && (old.gone.Load() || old.access.Load().view() != can.view()) {
		c.Leave(q.RoomID)
		old = nil
	}
	next := &membership{client: c}
	next.access.Store(&can)
	next.live = &subscriber{service: s, peer: c.peer}
	var known <-chan struct{} // closed when it is known who is in the room on other servers
	if old != nil {
		next.place = old.place
	} else {
		next.place = s.presence.place(q.RoomID, c.peer)
		known = next.place.room.open()
		if err := c.enter(q.RoomID, can.view()); err != nil {
			next.place.leave()
			return err
		}
	}
	if can.owner == "" && !strings.HasPrefix(q.RoomID, conversationPrefix) {
		next.place.room.free.Store(true)
	}
	fail := func(err error) error {
		next.live.close()
		next.notes.close()
		if old == nil {
			c.exit(q.RoomID, can.view())
			next.place.leave()
		}
		return err
	}
	// Now the peer hears of changes, so the answer must have those that came before.
	if row != nil && s.changes.Load() != before {
		if can, row, err = s.access(reading, who, c.actor(who), q.RoomID); err == nil {
			err = can.need(auth.Read)
		}
		if err != nil {
			return fail(err)
		}
	}
	joined := Joined{Member: who.member(c.peer.ID())}
	if row != nil {
		next.place.room.learn(row)
		shown := s.show(row, &can)
		joined.Room, joined.Read = &shown, &conversation.ReadSeqs{Operators: row.OperatorsReadSeq, User: row.UserReadSeq}
	} else if can.pending != nil {
		shown := s.show(pendingRow(q.RoomID, can.pending), &can)
		joined.Room, joined.Read = &shown, &conversation.ReadSeqs{}
	}
	if q.Notes {
		if err := c.openNotes(reading, &q, next, &joined); err != nil {
			return fail(err)
		}
	}
	if known != nil {
		<-known // soon
	}
	entered := false
	subscription, err := s.log.Open(reading, q.RoomID, from, next.live, func(opened history.Opened) {
		if old != nil {
			old.live.stop() // what it has not delivered is in the page or follows it
			old.notes.stop()
		}
		s.charge(&c.reader, opened.Messages)
		joined.Page = s.openedPage(q.RoomID, &opened, q.After != nil)
		joined.Reset = opened.Reset
		entered = next.place.enter(next, joined.Member, func(shown []Member, count int) {
			joined.Members, joined.Count = shown, count
			answer(joined)
		})
	})
	next.live.attach(subscription)
	if err != nil {
		return fail(s.storeError(ctx, "open room", err))
	}
	if old != nil {
		old.live.close()
		old.notes.close()
	}
	c.memberships[q.RoomID] = next
	c.entered(q.RoomID, next)
	if !entered { // old was evicted meanwhile
		next.live.close()
		next.notes.close()
		return c.forget(q.RoomID)
	}
	next.notes.release()
	if next.place.room.free.Load() || s.changes.Load() == before {
		return nil
	}
	// Somebody may have changed the room's owner, or made it a conversation, before the place was entered.
	return c.recheck(reading, q.RoomID, next)
}

// recheck decides about a membership again.
func (c *Client) recheck(ctx context.Context, room string, m *membership) error {
	who := m.access.Load().who
	now, _, err := c.service.access(ctx, who, c.actor(who), room)
	if err == nil {
		m.settle(&now)
	}
	return err
}

// openedPage returns the page with which a room was opened.
func (s *Service) openedPage(room string, o *history.Opened, continued bool) conversation.Page {
	before, after := o.HasMore, false
	if continued && !o.Reset {
		before, after = after, before
	}
	return conversation.Page{
		RoomID: room, Messages: o.Messages, LastSeq: o.LastSeq, Epoch: o.Epoch,
		HasMore: o.HasMore, HasBefore: before, HasAfter: after, OperatorNames: s.staff.namesIn(o.Messages),
	}
}

// openOptions checks which part of a room a client asks for.
func (s *Service) openOptions(q *JoinRequest) (o history.OpenOptions, err error) {
	if err := CheckRoom(q.RoomID); err != nil {
		return o, err
	}
	if o.Limit, err = s.limit(q.Limit); err != nil {
		return o, err
	}
	return o, s.since(&o, q.After, q.Epoch)
}

// since makes o continue after a number.
func (s *Service) since(o *history.OpenOptions, after *int64, epoch string) error {
	switch {
	case after == nil:
		return nil
	case *after < 0:
		return Refuse(BadPayload, "after cannot be negative")
	}
	o.Since, o.Epoch = *after, cmp.Or(epoch, s.store.Epoch())
	return nil
}

// openNotes opens the notes of a room for a membership, and adds the page to joined. What comes after
// the page is held until the membership's notes are released, because the answer must come first.
func (c *Client) openNotes(ctx context.Context, q *JoinRequest, m *membership, joined *Joined) error {
	s := c.service
	from := history.OpenOptions{}
	from.Limit, _ = s.limit(q.Limit)
	if err := s.since(&from, q.NotesAfter, q.Epoch); err != nil {
		return err
	}
	m.notes = &subscriber{service: s, peer: c.peer, held: true}
	subscription, err := s.log.Open(ctx, history.NotesRoom(q.RoomID), from, m.notes, func(opened history.Opened) {
		s.charge(&c.reader, opened.Messages)
		named(opened.Messages, q.RoomID)
		page := s.openedPage(q.RoomID, &opened, q.NotesAfter != nil)
		joined.Notes = &page
	})
	m.notes.attach(subscription)
	if err != nil {
		return s.storeError(ctx, "open notes", err)
	}
	return nil
}
