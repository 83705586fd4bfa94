package history

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxWaiting is how many messages of a room may wait to be delivered, or for an earlier one, or for a
// page; maxWaitingBytes is how large they may be together, and one more message. What exceeds that
// is read from the store later.
const (
	maxWaiting      = 1024
	maxWaitingBytes = 4 << 20
)

// hasRoom reports whether another message may wait with messages that have so many bytes.
func hasRoom(messages, bytes int) bool { return messages < maxWaiting && bytes < maxWaitingBytes }

// tail follows the end of one room for the subscribers in this process. It exists while there are
// any.
//
// mu guards the data. It is never held during a call to the store, the bus or a subscriber. One
// goroutine at a time calls subscribers: the one that set delivering. It ends when the queue is
// empty.
type tail struct {
	log  *Log
	room string
	refs int // guarded by log.mu

	started chan struct{} // closed when pos is known, or err set
	err     error         // of starting

	pageBytes int // twice what a subscriber has taken of the last page; whoever has the turn owns it

	mu         sync.Mutex
	pos        int64           // everything up to this number was queued; -1 before the start
	want       int64           // the largest number known to exist
	doubtful   bool            // there may be a message after pos that nobody has reported
	heard      bool            // a later number was reported since the last audit
	held       map[int64]*Live // messages later than pos+1; made when first needed
	heldBytes  int
	queue      []*Live // in order, for the delivering goroutine
	queueBytes int
	subs       []*Subscription
	leaving    []*Subscription // left during delivery
	delivering bool
	filling    bool
	closed     bool
	repair     *time.Timer // made when first needed
	repairFrom int64       // pos when the timer was set; -1 if the timer is not running
	cancelBus  func()      // nil: not subscribed
	lag        *lag        // nil while nobody who is behind can take more
}

// start finds out where the room ends, after it has subscribed to live messages.
func (t *tail) start() {
	defer close(t.started)
	// The room works without the bus: the audit finds the messages of other nodes and tries to
	// subscribe again.
	_ = t.subscribe()
	ctx, cancel := context.WithTimeout(t.log.ctx, startTimeout)
	defer cancel()
	heads, err := t.log.store.Heads(ctx, []string{t.room})
	if err != nil {
		t.err = err
		t.log.forget(t)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipLocked(heads[t.room])
	t.settleLocked()
}

// subscribe subscribes to the room on the bus, unless it already has.
func (t *tail) subscribe() error {
	if t.log.bus == nil || !t.needsBus() {
		return nil
	}
	ctx, cancel := context.WithTimeout(t.log.ctx, busTimeout)
	defer cancel()
	cancelBus, err := t.log.bus.Subscribe(ctx, t.room, func(m Message) {
		switch {
		case m.RoomID != t.room:
		case m.isHint():
			t.hinted(m.Seq)
		default:
			t.offer(m)
		}
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	closed := t.closed
	if !closed {
		t.cancelBus = cancelBus
	}
	t.mu.Unlock()
	if closed {
		cancelBus()
	}
	return nil
}

func (t *tail) needsBus() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cancelBus == nil && !t.closed
}

// offer receives a message that was committed, here or on another node.
func (t *tail) offer(m Message) {
	n := m.Number()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || n <= t.pos {
		return
	}
	t.want, t.heard = max(t.want, n), true
	switch {
	case t.pos == n-1 && t.queueHasRoomLocked():
		t.unholdLocked(n) // held while the queue was full
		t.queueLocked(&Live{Message: m})
		t.drainLocked()
	case hasRoom(len(t.held), t.heldBytes):
		if t.held == nil {
			t.held = make(map[int64]*Live)
		}
		if t.held[n] == nil {
			t.held[n] = &Live{Message: m}
			t.heldBytes += m.Size()
		}
	}
	t.settleLocked()
}

// expect records that number n exists.
func (t *tail) expect(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.want = max(t.want, n)
	t.settleLocked()
}

// hinted receives a hint of the bus: number n exists, or the room may have been erased.
func (t *tail) hinted(n int64) {
	if n == 0 {
		t.log.workers.start(func() { t.log.compare([]*tail{t}) })
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.want = max(t.want, n); n == t.pos+1 && !t.closed && !t.filling && t.queueHasRoomLocked() {
		t.filling = t.log.workers.start(t.fill) // nothing else brings it
	}
	t.heard = true
	t.settleLocked()
}

// doubt records that there may be a message that nobody has reported.
func (t *tail) doubt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doubtful = true
	t.settleLocked()
}

// needsAudit reports whether the bus may have lost the room's last message: nothing has arrived
// since the previous call, or the room is not subscribed to on the bus.
func (t *tail) needsAudit() bool {
	if !t.isStarted() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	heard := t.heard
	t.heard = false
	return !heard || t.cancelBus == nil
}

// queueHasRoomLocked reports whether another message may be queued.
func (t *tail) queueHasRoomLocked() bool { return hasRoom(len(t.queue), t.queueBytes) }

// queueLocked queues the next message.
func (t *tail) queueLocked(m *Live) {
	t.queue = append(t.queue, m)
	t.queueBytes += m.Message.Size()
	t.pos = m.Message.Number()
}

// unholdLocked takes a message out of held, if it is there.
func (t *tail) unholdLocked(n int64) *Live {
	m := t.held[n]
	if m != nil {
		delete(t.held, n)
		t.heldBytes -= m.Message.Size()
	}
	return m
}

// skipLocked moves pos to n. Nothing up to n is left to deliver.
func (t *tail) skipLocked(n int64) {
	for held := range t.held {
		if held <= n {
			t.unholdLocked(held)
		}
	}
	t.pos = n
	t.drainLocked()
}

// drainLocked moves held messages to the queue if they are next.
func (t *tail) drainLocked() {
	for t.queueHasRoomLocked() {
		next := t.unholdLocked(t.pos + 1)
		if next == nil {
			return
		}
		t.queueLocked(next)
	}
}

// settleLocked starts delivery if messages are queued, and a repair if some are missing.
func (t *tail) settleLocked() {
	if t.closed {
		return
	}
	if len(t.queue) > 0 && !t.delivering {
		t.delivering = t.log.workers.start(t.deliver)
	}
	if t.pos >= 0 && (t.want > t.pos || t.doubtful) && !t.filling && t.repairFrom < 0 {
		t.repairLocked(t.log.repairAfter)
	}
}

// repairLocked schedules a read of the missing messages from the store.
func (t *tail) repairLocked(after time.Duration) {
	t.repairFrom = t.pos
	if t.repair == nil {
		t.repair = time.AfterFunc(after, t.overdue)
	} else {
		t.repair.Reset(after)
	}
}

// overdue runs when a message has been missing for a while. If the room has moved on meanwhile,
// another message is missing now, and it gets its own time. If delivery is behind, reading more
// would not help.
func (t *tail) overdue() {
	t.mu.Lock()
	defer t.mu.Unlock()
	stuck := t.repairFrom == t.pos && t.queueHasRoomLocked()
	t.repairFrom = -1
	if stuck && !t.closed && (t.want > t.pos || t.doubtful) && !t.filling {
		t.filling = t.log.workers.start(t.fill)
	}
	t.settleLocked()
}

// fill reads the missing messages from the store.
func (t *tail) fill() {
	for t.fillOnce() {
	}
}

// fillOnce reports whether there may be more to read now.
func (t *tail) fillOnce() (more bool) {
	t.mu.Lock()
	pos, want := t.pos, t.want
	t.doubtful = false
	t.mu.Unlock()
	s, err := t.log.store.Changes(withRoom(t.log.ctx, t.room), t.room, pos, Limit{Messages: MaxLimit})
	if errors.Is(err, ErrPruned) {
		s.UpTo, err = s.Floor, nil // nothing is left to deliver
	}
	if err != nil && t.log.ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
		t.log.logger.Error("read missing messages", "room", t.room, "after", pos, "error", err)
	}
	repaired := 0
	t.mu.Lock()
	switch {
	case err == nil:
		repaired, more = t.takeLocked(s, want)
	case !t.closed:
		t.doubtful = true
		t.repairLocked(t.log.auditEvery)
	}
	t.filling = more
	t.settleLocked()
	t.mu.Unlock()
	if repaired > 0 && t.log.observer != nil {
		t.log.observer.Repaired(repaired)
	}
	return more
}

// takeLocked queues what was read. want is the largest number that was known to exist before the
// read. It returns the number of messages that were missing, and whether to read on.
func (t *tail) takeLocked(s Slice, want int64) (repaired int, more bool) {
	for i := range s.Messages {
		if n := s.Messages[i].Number(); n > t.pos {
			t.queueLocked(&Live{Message: s.Messages[i]})
			repaired++
		}
	}
	t.want = max(t.want, s.Head)
	t.skipLocked(max(t.pos, s.UpTo))
	switch {
	case s.UpTo < s.Head:
		// More than a page is missing. If delivery is behind, the rest is read later.
		return repaired, !t.closed && t.queueHasRoomLocked()
	case s.Head < want:
		// What the store does not have does not exist, whatever the bus says.
		clear(t.held)
		t.heldBytes = 0
		t.want = t.pos
	}
	return repaired, false
}

// deliver passes the queue to the subscribers, without holding the lock. Meanwhile, join only
// appends to subs, and subscribers who leave stay in it until the round is over.
func (t *tail) deliver() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 && !t.closed {
		queue, subs := t.queue, t.subs
		t.queue, t.queueBytes = nil, 0
		if t.lag != nil && t.lag.reading {
			t.lag.keep(queue)
		}
		t.drainLocked()
		t.mu.Unlock()
		for _, m := range queue {
			for _, s := range subs {
				s.deliver(m)
			}
		}
		t.mu.Lock()
		for _, s := range t.leaving {
			t.removeLocked(s)
		}
		clear(t.leaving)
		t.leaving = t.leaving[:0]
	}
	t.delivering = false
}

// join adds s, whose page has not been read yet. It reports false if the tail has ended.
func (t *tail) join(s *Subscription) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	s.index = len(t.subs)
	t.subs = append(t.subs, s)
	return true
}

func (t *tail) leave(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.delivering {
		t.leaving = append(t.leaving, s)
	} else {
		t.removeLocked(s)
	}
}

func (t *tail) removeLocked(s *Subscription) {
	last := len(t.subs) - 1
	if s.index > last || t.subs[s.index] != s {
		return // closed before it had joined
	}
	moved := t.subs[last]
	t.subs[s.index], moved.index = moved, s.index
	t.subs[last] = nil
	t.subs = t.subs[:last]
}

func (t *tail) isStarted() bool {
	select {
	case <-t.started:
		return t.err == nil
	default:
		return false
	}
}

func (t *tail) position() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pos
}

// close is called when nobody has the room open any more.
func (t *tail) close() {
	t.mu.Lock()
	t.closed = true
	t.queue, t.held = nil, nil
	if t.repair != nil {
		t.repair.Stop()
	}
	cancelBus := t.cancelBus
	t.cancelBus = nil
	t.mu.Unlock()
	if cancelBus != nil {
		cancelBus()
	}
}
