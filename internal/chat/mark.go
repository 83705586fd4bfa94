package chat

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// readEvery is how often the others learn how far a member has read, at most. The last state always
// arrives.
const readEvery = time.Second

// maxLate is in how many rooms marks of a client may wait.
const maxLate = 128

// lateMarks are marks of a client that are set later, because it marks more often than it may: one for
// each room, in the order in which the client asked for them.
type lateMarks struct {
	mu      sync.Mutex
	queue   []*lateMark
	running bool // the timer
}

type lateMark struct {
	room string
	as   *access
	who  *auth.Identity
	seq  int64
	done []func(conversation.Marked, error)
}

// inLocked returns the mark that waits in a room, or nil.
func (l *lateMarks) inLocked(room string) *lateMark {
	for _, late := range l.queue {
		if late.room == room {
			return late
		}
	}
	return nil
}

// MarkRead says that the client has read a room up to a number. It calls done once unless it returns
// an error. That may be later: if the client marks more often than it may, only the last of its marks
// counts, and all get the same answer. done must not block.
func (c *Client) MarkRead(ctx context.Context, q conversation.MarkRequest, done func(conversation.Marked, error)) error {
	st, err := c.marking(ctx, string(conversation.MarkRead), &q)
	if err != nil {
		return err
	}
	late, err := c.late.wait(c, st, &q, done)
	if err == nil && !late {
		done(c.service.markRead(ctx, st, q.RoomID, q.Seq))
	}
	return err
}

// wait reports whether a mark will be set later.
func (l *lateMarks) wait(c *Client, st *access, q *conversation.MarkRequest, done func(conversation.Marked, error)) (late bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if late := l.inLocked(q.RoomID); late != nil {
		late.as, late.seq, late.done = st, max(late.seq, q.Seq), append(late.done, done)
		return true, nil
	}
	switch {
	case len(l.queue) >= maxLate:
		return false, c.tooMuch("too much at once: try again later", time.Second)
	case !l.running:
		wait := c.wait(marksOf)
		if wait == 0 {
			return false, nil
		}
		l.running = true
		time.AfterFunc(wait, c.markLate)
	}
	l.queue = append(l.queue, &lateMark{q.RoomID, st, c.who.Load(), q.Seq, []func(conversation.Marked, error){done}})
	return true, nil
}

// markLate sets the mark that has waited longest, when the client may.
func (c *Client) markLate() {
	l := &c.late
	l.mu.Lock()
	var late *lateMark
	var wait time.Duration
	if len(l.queue) > 0 {
		if wait = c.waitAs(l.queue[0].who, marksOf); wait == 0 {
			late, l.queue = l.queue[0], l.queue[1:]
		}
	}
	if l.running = len(l.queue) > 0; l.running {
		time.AfterFunc(wait, c.markLate)
	}
	l.mu.Unlock()
	if late != nil {
		late.answer(c.service.markRead(context.Background(), late.as, late.room, late.seq))
	}
}

func (l *lateMark) answer(marked conversation.Marked, err error) {
	for _, done := range l.done {
		done(marked, err)
	}
}

// take returns the mark that waits in a room, and no longer waits; nil: none.
func (l *lateMarks) take(room string) *lateMark {
	l.mu.Lock()
	defer l.mu.Unlock()
	late := l.inLocked(room)
	if late != nil {
		l.queue = slices.DeleteFunc(l.queue, func(other *lateMark) bool { return other == late })
	}
	return late
}

// marking checks a request to set a mark.
func (c *Client) marking(ctx context.Context, event string, q *conversation.MarkRequest) (*access, error) {
	st, err := c.in(ctx, q.RoomID)
	switch {
	case err != nil:
		return st, err
	case q.Seq < 1:
		return st, Refuse(BadPayload, "seq must be at least 1")
	case c.service.can.reads == nil:
		return st, errLacking
	}
	return st, st.may(event)
}

// markRead sets a member's mark, and tells the others.
func (s *Service) markRead(ctx context.Context, st *access, room string, seq int64) (conversation.Marked, error) {
	ctx, cancel := s.bounded(context.WithoutCancel(ctx))
	defer cancel()
	marked, err := s.can.reads.MarkRead(ctx, room, st.who.reader(), seq)
	if err != nil {
		return conversation.Marked{}, s.storeError(ctx, "mark read", err)
	}
	if me := st.who.reader(); marked.Moved && st.owner != "" {
		s.presence.read(room, me, marked.Seq)
		if s.cluster != nil {
			s.cluster.send(roomSubject+room, saying{Read: &readWord{me.UserID, me.OperatorID, marked.Seq}})
		}
	}
	return conversation.Marked{RoomID: room, Seq: marked.Seq, Unread: marked.Unread}, nil
}

// MarkUnread makes a message the first one that the operator has not read. Only this operator's
// connections learn of it.
func (c *Client) MarkUnread(ctx context.Context, q conversation.MarkRequest) (conversation.Marked, error) {
	st, err := c.marking(ctx, string(conversation.MarkUnread), &q)
	if err != nil {
		return conversation.Marked{}, err
	}
	s := c.service
	if err := c.spend(marksOf); err != nil {
		return conversation.Marked{}, err
	}
	late := c.late.take(q.RoomID) // the client asked for it before
	bounded, cancel := s.bounded(context.WithoutCancel(ctx))
	defer cancel()
	me := st.who.reader()
	marked, err := s.can.reads.MarkUnread(bounded, q.RoomID, me, q.Seq)
	if err != nil {
		err = s.storeError(ctx, "mark unread", err)
	}
	answer := conversation.Marked{RoomID: q.RoomID, Seq: marked.Seq, Unread: marked.Unread}
	if late != nil {
		late.answer(answer, err)
	}
	if err != nil {
		return conversation.Marked{}, err
	}
	news := conversation.ReadNews{RoomID: q.RoomID, Seq: marked.Seq, By: byOperators, OperatorID: me.OperatorID}
	s.tellUnread(&unreadWord{me.OperatorID, news})
	s.cluster.say(word{Unread: &unreadWord{me.OperatorID, news}})
	return answer, nil
}

// tellUnread tells an operator's clients here that it has moved its mark back.
func (s *Service) tellUnread(w *unreadWord) {
	for _, own := range s.connected.clients(history.Member{OperatorID: w.OperatorID}) {
		own.peer.Tell(string(conversation.Read), w.News)
	}
}

// Who has written or read.
const (
	byUser      = "user"
	byOperator  = "operator"
	byOperators = "operators"
)

// readers is what the members of a conversation know of how far others have read. The room's lock
// guards it.
type readers struct {
	of        map[history.Member]*readTill
	operators int64 // the highest mark of any operator that the user knows of
}

type readTill struct {
	seq  int64
	told bool // the others know
}

// read tells the members of a room, if there are any, how far one of them has read.
func (p *presence) read(id string, who history.Member, seq int64) {
	r := p.known(id)
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if till := r.readers.of[who]; till != nil { // they were told a moment ago
		till.seq, till.told = max(till.seq, seq), false
		return
	}
	till := &readTill{seq: seq}
	r.readers.of = put(r.readers.of, who, till)
	r.tellReadLocked(who, till)
}

// tellReadLocked tells the others how far a member has read, and again after a while if there is news.
// The user of a conversation learns of the operators as one.
func (r *room) tellReadLocked(who history.Member, till *readTill) {
	till.told = true
	time.AfterFunc(readEvery, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if till.told {
			delete(r.readers.of, who)
			return
		}
		r.tellReadLocked(who, till)
	})
	event := string(conversation.Read)
	news := conversation.ReadNews{RoomID: r.id, Seq: till.seq, By: byUser}
	if who.OperatorID == "" {
		r.announceLocked(whole, event, news, nil)
		r.announceLocked(trimmed, event, news, nil)
		return
	}
	news.By, news.OperatorID = byOperators, who.OperatorID
	r.announceLocked(whole, event, news, nil)
	if till.seq > r.readers.operators {
		r.readers.operators = till.seq
		news.OperatorID = ""
		r.announceLocked(trimmed, event, news, nil)
	}
}
