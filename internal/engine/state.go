package engine

import (
	"fmt"
	"slices"

	"github.com/parley-go/parley/internal/fifo"
)

// state is the stage of a session's life. The package documentation has a table of the states.
type state uint8

const (
	opening   state = iota // registered, without a handler
	open                   // messages go both ways
	closing                // what is queued is still sent; the transport tells the client
	lingering              // the same, but the client must fetch it
	closed                 // nothing is sent any more
)

func (s state) String() string {
	return [...]string{"opening", "open", "closing", "lingering", "closed"}[s]
}

// successors lists the states that may follow each state.
var successors = [...][]state{
	opening:   {open},
	open:      {closing, closed},
	closing:   {lingering, closed},
	lingering: {closing, closed},
	closed:    nil,
}

// ending reports whether the session has ended but still sends what is queued.
func (s state) ending() bool { return s == closing || s == lingering }

// changeLocked changes the state, and does what every change to or from that state needs. Nothing
// else changes the state.
func (s *Session) changeLocked(to state) {
	from := s.state
	if !slices.Contains(successors[from], to) {
		panic(fmt.Sprintf("engine: a session that is %v cannot be %v", from, to))
	}
	s.state = to
	switch from {
	case opening:
		s.srv.stats.opened(s.transport)
		s.firstBeatLocked()
	case open:
		s.halted.Store(s.halted.Load() | hasEnded)
		s.srv.stats.Open[indexOf(s.transport)].Add(-1)
		s.srv.wheel.clear(&s.beat.timer)
		if s.backlog != nil {
			s.backlog.endLocked()
		}
		s.resumedLocked()
	case lingering:
		s.srv.wheel.clear(&s.beat.timer)
	}
	if to == closed {
		s.out, s.queued = fifo.Queue[*Message]{}, 0
		s.reportLocked()
		if s.upgrade != nil {
			s.upgrade.to.dropLocked()
		}
	}
}
