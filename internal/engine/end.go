package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/fifo"
)

// Reason says why a session ended, in the words of the reference implementation.
type Reason string

const (
	TransportError Reason = "transport error"
	TransportClose Reason = "transport close"
	ForcedClose    Reason = "forced close"
	PingTimeout    Reason = "ping timeout"
	ParseError     Reason = "parse error"
)

var (
	// ErrSlowConsumer is the cause of a TransportError when the peer does not take what
	// it is sent. Options.OutboxLimit says when.
	ErrSlowConsumer = errors.New("engine: slow consumer")
	// ErrEnded is returned to callers that wait for a session which ends.
	ErrEnded = errors.New("engine: session has ended")
	// ErrProtocol is wrapped by what a peer's break of the protocol causes.
	ErrProtocol = errors.New("engine: protocol violation")
)

// Close ends the session once what is queued has been sent. The handler is told at
// once, with ForcedClose.
func (s *Session) Close() { s.close(ForcedClose, eio.Close) }

// close ends an open session once what is queued has been sent. The client is told by the
// farewell; with Noop it knows, and takes nothing more.
func (s *Session) close(reason Reason, farewell eio.Type) {
	s.mu.Lock()
	tell := s.endLocked(closing, reason, nil, farewell)
	s.mu.Unlock()
	tell()
}

// end ends an open session and drops what is queued.
func (s *Session) end(reason Reason, cause error) {
	s.mu.Lock()
	tell := s.endLocked(closed, reason, cause, eio.Close)
	s.mu.Unlock()
	tell()
}

// violate ends an open session since the peer broke the protocol.
func (s *Session) violate(reason Reason, what string) {
	s.end(reason, fmt.Errorf("%w: %s", ErrProtocol, what))
}

// endLocked takes an open session to the state to, closing or closed. tell has to be called
// without the lock.
func (s *Session) endLocked(to state, reason Reason, cause error, farewell eio.Type) (tell func()) {
	if s.state != open {
		return func() {}
	}
	s.changeLocked(to)
	if farewell == eio.Noop {
		s.out, s.queued = fifo.Queue[*Message]{}, 0
	}
	if u := s.upgrade; u != nil && !(u.probed && farewell == eio.Close) {
		u.to.dropLocked()
	} // else its client has stopped polling, and will hear of the end once it has upgraded
	if s.transport.endLocked(farewell) {
		s.changeLocked(lingering)
		s.lingerLocked(farewell)
	}
	lingers := s.state == lingering
	return func() {
		s.srv.stats.closed(reason)
		s.handler.Closed(reason, cause)
		if !lingers {
			s.srv.remove(s) // last, so that Shutdown waits for the handler
		}
	}
}

const (
	// lingerTimeout is how long a session that was closed here waits for a poll, to tell;
	// farewellTimeout is how long one that the client closed waits for a poll that the
	// client sent at the same time.
	lingerTimeout   = 30 * time.Second
	farewellTimeout = time.Second
)

// lingerLocked bounds the time that the session lingers, from now on.
func (s *Session) lingerLocked(farewell eio.Type) {
	switch {
	case farewell == eio.Noop:
		s.beatInLocked(farewellTimeout)
	case s.srv.draining.Load(): // a shutdown waits for it
		s.beatInLocked(closeTimeout)
	default:
		s.beatInLocked(lingerTimeout)
	}
}

// hurry has a session that lingers do so no longer than a shutdown waits.
func (s *Session) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == lingering && s.beat.due > s.srv.wheel.since()+closeTimeout {
		s.lingerLocked(eio.Close)
	}
}
