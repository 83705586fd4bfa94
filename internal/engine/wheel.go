package engine

import (
	"sync"
	"time"
)

// wheel is a timing wheel: a ring of slots, each a list of the timers that are due in one tick.
// While the wheel is not empty, one runtime timer goes round it. A session sets its heartbeat timer
// again at each ping and pong. Here that only relinks a list entry, and tens of thousands of timers
// cost one wake-up per tick.
type wheel struct {
	tick time.Duration
	base time.Time // when tick 0 was; only differences matter

	mu     sync.Mutex
	slots  [512]timer // heads of circular lists
	now    int64      // the last tick that was handled
	armed  int        // how many timers are in the lists
	turner *time.Timer
	stop   bool
}

// timer is embedded in the object that it wakes. Its zero value is ready to be set.
type timer struct {
	next, prev *timer // nil while the timer is not set
	due        int64  // tick
	owner      alarmed
}

// alarmed is notified, without a lock of the wheel, when a timer that it has set runs out. A timer
// that is set again at that very moment may be reported once too often. So the owner must check its
// own state (see wheel.fired).
type alarmed interface{ alarm(t *timer) }

func newWheel(tick time.Duration) *wheel {
	w := &wheel{tick: tick, base: time.Now()}
	for i := range w.slots {
		s := &w.slots[i]
		s.next, s.prev = s, s
	}
	return w
}

// since returns the time since the wheel was made.
func (w *wheel) since() time.Duration { return time.Since(w.base) }

// set makes t run out at the time at, counted since the wheel was made: never earlier, and at most
// about one tick later. t may be set already.
func (w *wheel) set(t *timer, owner alarmed, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop {
		return
	}
	w.unlinkLocked(t)
	t.owner = owner
	t.due = int64((at + w.tick - 1) / w.tick)
	if w.armed == 0 {
		w.now = int64(w.since() / w.tick)
	}
	t.due = max(t.due, w.now+1)
	head := &w.slots[t.due%int64(len(w.slots))]
	t.prev, t.next = head.prev, head
	t.prev.next, head.prev = t, t
	w.armed++
	if w.armed == 1 {
		if w.turner == nil {
			w.turner = time.AfterFunc(w.tick, w.turn)
		} else {
			w.turner.Reset(w.tick)
		}
	}
}

// clear stops t, if it is set.
func (w *wheel) clear(t *timer) {
	w.mu.Lock()
	w.unlinkLocked(t)
	w.mu.Unlock()
}

// fired reports whether t has run out and has not been set again. Call it in alarm, under the
// owner's lock.
func (w *wheel) fired(t *timer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return t.next == nil
}

func (w *wheel) unlinkLocked(t *timer) {
	if t.next != nil {
		t.prev.next, t.next.prev = t.next, t.prev
		t.next, t.prev = nil, nil
		w.armed--
	}
}

// turn advances to the present tick and reports the timers that have run out.
func (w *wheel) turn() {
	w.mu.Lock()
	type expiry struct { // the owner, read under the lock
		owner alarmed
		t     *timer
	}
	var expired []expiry
	target := int64(w.since() / w.tick)
	// After a pause longer than a whole turn, look at each slot once.
	for from := max(w.now+1, target-int64(len(w.slots))+1); from <= target; from++ {
		head := &w.slots[from%int64(len(w.slots))]
		for t := head.next; t != head; {
			next := t.next
			if t.due <= target {
				w.unlinkLocked(t)
				expired = append(expired, expiry{t.owner, t})
			}
			t = next
		}
	}
	w.now = max(w.now, target)
	w.mu.Unlock()

	for _, e := range expired {
		e.owner.alarm(e.t)
	}

	w.mu.Lock()
	if w.armed > 0 && !w.stop {
		w.turner.Reset(w.tick)
	}
	w.mu.Unlock()
}

// close stops the wheel. From now on it reports no timer, except those that it is already
// reporting.
func (w *wheel) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = true
	if w.turner != nil {
		w.turner.Stop()
	}
}
