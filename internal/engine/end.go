package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/fifo"
)

// Reason says why a session ended. The strings are those of the reference implementation.
type Reason string

const (
	TransportError Reason = "transport error"
	TransportClose Reason = "transport close"
	ForcedClose    Reason = "forced close"
	PingTimeout    Reason = "ping timeout"
	ParseError     Reason = "parse error"
)

var (
	// ErrSlowConsumer is the cause of a TransportError when the peer does not take what the server
	// sends. Options.OutboxLimit has the rule.
	ErrSlowConsumer = errors.New("engine: slow consumer")
	// ErrEnded is returned to callers that wait for a session when that session ends.
	ErrEnded = errors.New("engine: session has ended")
	// ErrProtocol is wrapped by errors that a peer causes by breaking the protocol.
	ErrProtocol = errors.New("engine: protocol violation")
)

// Close sends what is queued, then ends the session. It calls the handler's Closed at once, with
// ForcedClose.
func (s *Session) Close() { s.close(ForcedClose, eio.Close) }

// close sends what is queued, then ends an open session. The farewell tells the client; Noop means
// that the client knows already and takes nothing more.
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

// violate ends an open session because the peer broke the protocol.
func (s *Session) violate(reason Reason, what string) {
	s.end(reason, fmt.Errorf("%w: %s", ErrProtocol, what))
}

// endLocked takes an open session to the state to, which is closing or closed. The caller must call
// tell after it releases the lock.
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
	} // else the client has stopped polling; it learns of the end once it has upgraded
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
	// lingerTimeout is how long a session that the server closed waits for a poll that it can
	// answer with the farewell. farewellTimeout is how long a session that the client closed waits
	// for a poll that the client sent at the same time.
	lingerTimeout   = 30 * time.Second
	farewellTimeout = time.Second
)

// lingerLocked limits how long the session lingers, counted from now.
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

// hurry makes a lingering session wait no longer than a shutdown does.
func (s *Session) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == lingering && s.beat.due > s.srv.wheel.since()+closeTimeout {
		s.lingerLocked(eio.Close)
	}
}
