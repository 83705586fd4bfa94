package engine

import (
	"time"

	"github.com/parley-go/parley/internal/budget"
)

// A session charges its client for what it makes the server do. While the client is over its budget
// for some kind, the server does not read from it, on whichever transport: the network makes the
// client wait, and nothing is lost. Where waiting is no use, the server ends the connection: a candidate
// that floods, and a connection whose session has ended already.

// A session is slowed down for leastSlow at least. Shorter times would cost more than what they save.
// It looks at its balances again after mostSlow at most, so that a session that has ended meanwhile
// does not stay in memory because of its debts.
const (
	leastSlow = 50 * time.Millisecond
	mostSlow  = time.Second
)

// Charge charges the client for n of a kind. If it is over its budget, the session is not read from
// until it no longer is.
func (s *Session) Charge(k budget.Kind, n int) {
	if n > 0 && s.overspent(k, n) {
		s.slowDown(k)
	}
}

// overspent charges the client for n of a kind, and reports whether it is over its budget.
func (s *Session) overspent(k budget.Kind, n int) bool {
	return s.spent[k].Charge(s.srv.opts.Budget[k], n) > 0
}

// debt returns the time until the client is within its budget for all kinds.
func (s *Session) debt() (wait time.Duration) {
	for k := range s.spent {
		wait = max(wait, s.spent[k].Charge(s.srv.opts.Budget[k], 0))
	}
	return wait
}

func (s *Session) slowDown(k budget.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open || s.halted.Load()&isSlowed != 0 {
		return
	}
	s.srv.stats.Slowed[k].Add(1)
	s.haltLocked(isSlowed, true)
	s.lookLater(s.debt())
}

func (s *Session) lookLater(wait time.Duration) {
	time.AfterFunc(min(max(wait, leastSlow), mostSlow), s.goOn)
}

// goOn reads from the client again, if it is within its budget.
func (s *Session) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.debt(); wait > 0 && !s.ended() {
		s.lookLater(wait)
		return
	}
	s.haltLocked(isSlowed, false)
}
