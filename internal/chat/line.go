package chat

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/budget"
)

// envelope is about how many bytes surround a message on its way to a member.
const envelope = 400

// A line is where messages wait while all members of a room together are over its budget. It serves
// the addresses in turn, and the members of each address: the one that has had the least goes first.
// So members that send much wait for the others, not the other way round, and many connections gain
// them nothing. This is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996). A line whose
// room is within its budget holds nothing but the shares, and has no timer.
type line struct {
	mu        sync.Mutex
	messages  budget.Balance
	bytes     budget.Balance
	addresses map[string]*share
	reached   float64     // where the latest turn of an address began
	waiting   []*turn     // in order of arrival
	timer     *time.Timer // runs while someone waits
}

// A share is what an address or a member has had: the sum of the costs of its turns. One that has
// rested goes on from where the others are. The line's lock guards it.
type share struct {
	had     float64
	reached float64 // of an address: where the latest turn of its members began
	members int     // of an address
}

// compare says which of two shares has its turn first. Of two that begin at the same point, it is
// the one that has rested.
func (s *share) compare(other *share, reached float64) int {
	rested := func(s *share) int {
		if s.had < reached {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(max(s.had, reached), max(other.had, reached)), rested(s)-rested(other))
}

// take takes a turn, and returns where it begins.
func (s *share) take(reached, cost float64) (start float64) {
	start = max(s.had, reached)
	s.had = start + cost
	return start
}

// A turn is one message in a line.
type turn struct {
	address *share
	member  *share
	cost    float64 // seconds of the room's budget
	size    int
	served  chan struct{} // closed
}

// beforeLocked reports whether t is served before another turn that arrived earlier.
func (l *line) beforeLocked(t, other *turn) bool {
	if t.address == other.address {
		return t.member.compare(other.member, t.address.reached) < 0
	}
	return t.address.compare(other.address, l.reached) < 0
}

// enroll returns the share of an address that has one more member. Call leave when the member leaves.
func (l *line) enroll(address string) *share {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.addresses[address]
	if s == nil {
		s = new(share)
		l.addresses = put(l.addresses, address, s)
	}
	s.members++
	return s
}

func (l *line) leave(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.addresses[address]
	if s.members--; s.members == 0 {
		delete(l.addresses, address)
	}
}

// send waits until the room may carry another message of size bytes from a member.
func (p *place) send(ctx context.Context, s *Service, size int) error {
	l := &p.room.line
	t, kind := l.enter(&s.opts.Budgets, p.address, &p.share, size)
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
	wait, quit := l.quit(t)
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
func (l *line) enter(limits *budget.Limits, address, member *share, size int) (*turn, budget.Kind) {
	count, bytes := limits[budget.RoomMessages], limits[budget.RoomMessageBytes]
	t := &turn{address: address, member: member, size: size}
	if count.PerSecond > 0 {
		t.cost = 1 / count.PerSecond
	}
	if bytes.PerSecond > 0 {
		t.cost = max(t.cost, float64(size)/bytes.PerSecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
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
	l.reached = t.address.take(l.reached, t.cost)
	t.address.reached = t.member.take(t.address.reached, t.cost)
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
			if l.beforeLocked(t, l.waiting[next]) {
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
	return time.Duration(sum * float64(time.Second)), true
}
