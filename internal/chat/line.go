package chat

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/budget"
)

// envelope is about how many bytes surround a message on its way to a member.
const envelope = 400

// A line is where messages wait while all members of a room together are over its budget. The
// member that has had the least goes first, so whoever sends much waits for the others, and not the
// other way round. This is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996). A line
// whose room is within its budget holds nothing and has no timer.
type line struct {
	mu       sync.Mutex
	messages budget.Balance
	bytes    budget.Balance
	reached  float64     // the greatest start of a turn that was served
	waiting  []*turn     // in order of arrival
	timer    *time.Timer // runs while someone waits
}

// A share is what a member has had of a line: the sum of the costs of its turns, each from its
// start. The line's lock guards it.
type share float64

// A turn is one message in a line.
type turn struct {
	share  *share
	start  float64
	idle   bool    // the member had nothing in the line before
	cost   float64 // seconds of the room's budget
	size   int
	served chan struct{} // closed
}

// before says which of two turns is served first.
func (t *turn) before(other *turn) bool {
	return t.start < other.start || t.start == other.start && t.idle && !other.idle
}

// send waits until the room may carry another message of size bytes.
func (r *room) send(ctx context.Context, s *Service, of *share, size int) error {
	limits := &s.opts.Budgets
	t, kind := r.line.enter(limits, of, size)
	if t == nil {
		return nil
	}
	s.slowed[kind].Add(1)
	over := time.NewTimer(patience)
	defer over.Stop()
	select {
	case <-t.served:
		return nil
	case <-ctx.Done():
	case <-over.C:
	}
	wait, quit := r.line.quit(t)
	switch {
	case !quit: // it was served just now
		return nil
	case ctx.Err() != nil:
		return ErrGone
	}
	return s.overBudget(kind, wait)
}

// enter puts a message into the line, and says which kind of budget it waits for. It returns nil if
// the message need not wait.
func (l *line) enter(limits *budget.Limits, of *share, size int) (*turn, budget.Kind) {
	count, bytes := limits[budget.RoomMessages], limits[budget.RoomMessageBytes]
	t := &turn{share: of, size: size}
	if count.PerSecond > 0 {
		t.cost = 1 / count.PerSecond
	}
	if bytes.PerSecond > 0 {
		t.cost = max(t.cost, float64(size)/bytes.PerSecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.idle = float64(*of) < l.reached
	t.start = max(l.reached, float64(*of))
	*of = share(t.start + t.cost)
	wait, kind := l.waitLocked(limits)
	if wait == 0 && len(l.waiting) == 0 {
		l.serveLocked(limits, t)
		return nil, kind
	}
	t.served = make(chan struct{})
	l.waiting = append(l.waiting, t)
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, func() { l.advance(limits) })
	}
	return t, kind
}

// waitLocked returns how long the next message has to wait.
func (l *line) waitLocked(limits *budget.Limits) (time.Duration, budget.Kind) {
	count := l.messages.Charge(limits[budget.RoomMessages], 0)
	bytes := l.bytes.Charge(limits[budget.RoomMessageBytes], 0)
	if bytes > count {
		return bytes, budget.RoomMessageBytes
	}
	return count, budget.RoomMessages
}

func (l *line) serveLocked(limits *budget.Limits, t *turn) {
	l.reached = max(l.reached, t.start)
	l.messages.Charge(limits[budget.RoomMessages], 1)
	l.bytes.Charge(limits[budget.RoomMessageBytes], t.size)
}

// advance serves those whose turn it is.
func (l *line) advance(limits *budget.Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 {
		if wait, _ := l.waitLocked(limits); wait > 0 {
			l.timer.Reset(wait)
			return
		}
		next := 0
		for i, t := range l.waiting {
			if t.before(l.waiting[next]) {
				next = i
			}
		}
		t := l.waiting[next]
		l.waiting = slices.Delete(l.waiting, next, next+1)
		l.serveLocked(limits, t)
		close(t.served)
	}
	l.waiting, l.timer = nil, nil
}

// quit gives up a turn, and returns how long the whole line has to wait. It reports false if the
// turn was served.
func (l *line) quit(t *turn) (wait time.Duration, quit bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, t)
	if i < 0 {
		return 0, false
	}
	sum := 0.0
	for _, other := range l.waiting {
		sum += other.cost
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	*t.share -= share(t.cost) // its only turn: a member waits for one message before it sends the next
	return time.Duration(sum * float64(time.Second)), true
}
