package engine

import (
	"sync"
	"time"
)

// wheel is a timing wheel: a ring of slots, each a list of the timers that are due in
// one tick's time, and one runtime timer that goes round it while it is not empty. A
// session's heartbeat is set again at each ping and pong; here that is the relinking of
// a list, and tens of thousands of timers cost one wake-up a tick.
type wheel struct {
	tick time.Duration
	base time.Time // when tick number 0 was; only differences count

	mu     sync.Mutex
	slots  [512]timer // heads of circular lists
	now    int64      // the last tick that was handled
	armed  int        // how many timers are in the lists
	turner *time.Timer
	stop   bool
}

// timer is embedded in what it wakes. Its zero value is ready to be set.
type timer struct {
	next, prev *timer // nil while not set
	due        int64  // tick
	owner      alarmed
}

// alarmed is told when a timer that it set has run out. No lock of the wheel is held.
// A timer that is set again at that very moment may be reported once too often: the
// owner checks its own state (see wheel.fired).
type alarmed interface{ alarm(t *timer) }

func newWheel(tick time.Duration) *wheel {
	w := &wheel{tick: tick, base: time.Now()}
	for i := range w.slots {
		s := &w.slots[i]
		s.next, s.prev = s, s
	}
	return w
}

// since is the time that has gone by since the wheel was made.
func (w *wheel) since() time.Duration { return time.Since(w.base) }

// set has t run out at the given time since the wheel was made, never earlier and at
// most about a tick later, whether or not t was set before.
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

// fired reports, within alarm and under the owner's lock, whether t has run out and was
// not set again since.
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

// turn goes on to the present tick and reports the timers that have run out.
func (w *wheel) turn() {
	w.mu.Lock()
	type expiry struct { // the owner as it is under the lock
		owner alarmed
		t     *timer
	}
	var expired []expiry
	target := int64(w.since() / w.tick)
	// After a pause longer than a whole turn each slot is looked at once.
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

// close stops the wheel for good; no timer is reported from now on but those whose
// report is under way.
func (w *wheel) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = true
	if w.turner != nil {
		w.turner.Stop()
	}
}
