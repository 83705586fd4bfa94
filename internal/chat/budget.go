package chat

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/budget"
)

// patience is how long an event may wait for a budget. If that is not enough, it is refused. It is
// shorter than the time after which clients give up an acknowledgement.
const patience = 5 * time.Second

// Budgets returns the limits of this package's kinds. They follow from what one connection may send
// in a second, in events and in bytes (0: any number), from the bytes that may be queued for a
// client, and from the rooms that it may be in.
//
// A room carries as many bytes in a second as one connection may send. So a client whose line takes
// as much as it may send keeps up with a room, whoever is in it. What all members together may send
// at once is at most half of what may be queued for each of them. A page is at most half of that,
// too, so a client that reads pages waits half a second for the next one at most.
func Budgets(events, bytes float64, maxOutbox, maxRooms int) (l budget.Limits) {
	if events > 0 {
		l[budget.Joins] = budget.Limit{PerSecond: events / 5, Burst: max(2*events, 2*float64(maxRooms))}
		l[budget.Pages] = budget.Limit{PerSecond: events / 2, Burst: 4 * events}
		l[budget.Messages] = budget.Limit{PerSecond: events / 2, Burst: 2 * events}
		l[budget.RoomMessages] = budget.Limit{PerSecond: 2 * events, Burst: 4 * events}
		l[budget.Typing] = budget.Limit{PerSecond: events / 2.5, Burst: events}
		l[budget.Presence] = budget.Limit{PerSecond: events / 2.5, Burst: 2 * maxShown}
		for kind, limit := range allowances {
			l[kind] = limit
		}
	}
	if bytes > 0 {
		l[budget.Reads] = budget.Limit{PerSecond: float64(maxOutbox), Burst: 8 * float64(maxOutbox)}
		burst := min(2*bytes, float64(maxOutbox)/2)
		l[budget.MessageBytes] = budget.Limit{PerSecond: bytes / 2, Burst: burst / 2}
		l[budget.RoomMessageBytes] = budget.Limit{PerSecond: bytes, Burst: burst}
	}
	return l
}

// counters count events by kind of budget.
type counters [budget.Kinds]atomic.Uint64

// Stats are numbers since the service was made, by the names of the kinds of budgets.
type Stats struct {
	Slowed  map[string]uint64 // events that waited, and announcements that were put off
	Refused map[string]uint64 // events that would have waited too long
}

// Stats returns the current numbers. It has all of the package's kinds.
func (s *Service) Stats() Stats {
	stats := Stats{map[string]uint64{}, map[string]uint64{}}
	for kind := budget.Joins; int(kind) < budget.Kinds; kind++ {
		stats.Slowed[kind.String()] = s.slowed[kind].Load()
		stats.Refused[kind.String()] = s.refused[kind].Load()
	}
	return stats
}

// afford charges n of a kind. If b is over its budget, afford waits first. It returns ErrGone if
// ctx ends meanwhile.
func (s *Service) afford(ctx context.Context, kind budget.Kind, b *budget.Balance, n int) error {
	limit := s.opts.Budgets[kind]
	wait := b.Allow(limit, n)
	switch {
	case wait > patience:
		return s.overBudget(kind, wait)
	case wait > 0:
		s.slowed[kind].Add(1)
	}
	for wait > 0 {
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = b.Allow(limit, n)
	}
	return nil
}

// pause waits. It returns ErrGone if ctx ends meanwhile.
func pause(ctx context.Context, wait time.Duration) error {
	over := time.NewTimer(wait)
	defer over.Stop()
	select {
	case <-ctx.Done():
		return ErrGone
	case <-over.C:
		return nil
	}
}

// overBudget refuses an event that would have to wait too long.
func (s *Service) overBudget(kind budget.Kind, wait time.Duration) error {
	s.refused[kind].Add(1)
	return &Error{Code: RateLimited, Message: "too much at once: try again later", RetryAfter: wait}
}
