package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

// Handler is the owner of a session.
type Handler interface {
	// Message is called for each message, in order, by one goroutine at a time. data is
	// valid until it returns. It must not block; it may call Session.Pause.
	Message(binary bool, data []byte)
	// Opened is called once, when the session is open and before anything is received: what
	// it sends follows OPEN, with polling in the answer to the first poll. It must not block.
	Opened()
	// Closed is called once, when the session has ended, but never from within Send, Queue
	// or SendVolatile. A Message may be under way, or just begin, at that time on another
	// goroutine, but no other comes after it.
	Closed(reason Reason, cause error)
}

// Session is one Engine.IO session: it outlives the transport it began with when it is
// upgraded. All methods are safe for concurrent use and none blocks.
//
// What mu guards is said at each field. No lock is held while bytes are written or a
// Handler is called.
type Session struct {
	id       string
	srv      *Server
	info     *Handshake
	protocol eio.Protocol
	handler  Handler // set before anything is received

	ended atomic.Bool // state is not open, for those who do not hold mu

	mu      sync.Mutex
	state   state
	out     fifo.Queue[*Message]
	queued  int      // bytes in out, and of what the transport took from it and has not written
	backlog *backlog // nil while queued is within its limit and nobody waits for less

	beat heartbeat

	transport transport
	probe     candidate // tries to become the transport
	probed    bool      // its probe was answered
	lingers   bool      // the session is closing, and waits for its client to fetch the end
	paused    bool
	resume    chan struct{} // closed at Resume, made by who waits for it
}

type state uint8

const (
	opening state = iota // known to the server, but without a handler
	open
	closing // what is queued is still sent
	closed
)

// ID returns the session's id.
func (s *Session) ID() string { return s.id }

// Protocol returns the revision of Engine.IO that the client speaks.
func (s *Session) Protocol() eio.Protocol { return s.protocol }

// Handshake returns what is known of the request that opened the session.
func (s *Session) Handshake() *Handshake { return s.info }

// Transport returns the name of the transport in use, see Transports.
func (s *Session) Transport() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport.name()
}

// Pause stops reading from the peer until Resume, so that the network makes it wait.
//
// Once Pause has returned, Handler.Message is called for nothing but what the transport had
// read before. Over WebSocket these are the messages in one read buffer, poll.BufferSize;
// over the other transports it is one message.
func (s *Session) Pause() { s.setPaused(true) }

// Resume reads from the peer again.
func (s *Session) Resume() { s.setPaused(false) }

func (s *Session) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused != paused {
		s.paused = paused
		s.pausedLocked()
	}
	if !paused && s.resume != nil {
		close(s.resume)
		s.resume = nil
	}
	s.transport.pauseLocked(paused)
}

// Close ends the session once what is queued has been sent. The handler is told at
// once, with ForcedClose.
func (s *Session) Close() { s.shut(closing, ForcedClose, nil, eio.Close) }

// end ends the session and drops what is queued. A poll that is parked is answered with
// the farewell, which is Close unless the client itself closed.
func (s *Session) end(reason Reason, cause error, farewell eio.Type) {
	s.shut(closed, reason, cause, farewell)
}

// violate ends the session since the peer broke the protocol.
func (s *Session) violate(reason Reason, what string) {
	s.end(reason, fmt.Errorf("%w: %s", ErrProtocol, what), eio.Close)
}

// shut takes an open session to the state to and does what follows from it.
func (s *Session) shut(to state, reason Reason, cause error, farewell eio.Type) {
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	linger := s.shutLocked(to, farewell)
	s.mu.Unlock()
	s.shutDown(linger, reason, cause)
}

// shutLocked is what shut does under the lock; shutDown has to follow.
func (s *Session) shutLocked(to state, farewell eio.Type) (linger bool) {
	s.state = to
	s.ended.Store(true)
	s.srv.stats.Open[indexOf(s.transport)].Add(-1)
	if to == closed || farewell == eio.Noop {
		s.out, s.queued = fifo.Queue[*Message]{}, 0
	}
	s.srv.wheel.clear(&s.beat.timer)
	if s.backlog != nil {
		s.backlog.endLocked()
	}
	if s.resume != nil {
		close(s.resume)
		s.resume = nil
	}
	if s.probe != nil && !(to == closing && s.probed && farewell == eio.Close) {
		s.probe.dropLocked()
	} // else its client has stopped polling, and will hear of the end once it has upgraded
	s.lingers = s.transport.endLocked(farewell)
	return s.lingers
}

// shutDown tells those who have to know that the session is shut.
func (s *Session) shutDown(linger bool, reason Reason, cause error) {
	s.srv.stats.closed(reason)
	s.handler.Closed(reason, cause)
	if !linger {
		s.srv.remove(s) // last, so that Shutdown waits for the handler
	}
}

// received handles one packet from the transport, on the goroutine that reads from it.
func (s *Session) received(p eio.Packet) {
	if s.ended.Load() {
		return
	}
	if p.Type != eio.Pong {
		s.extendWait()
	}
	switch p.Type {
	case eio.Message:
		s.handler.Message(p.Binary, p.Data)
	case eio.Ping, eio.Pong:
		switch clientPings := s.protocol.ClientPings(); {
		case (p.Type == eio.Ping) != clientPings:
			s.violate(TransportError, "invalid heartbeat direction")
		case clientPings:
			s.ping()
		default:
			s.pong()
		}
	case eio.Close:
		// A poll may be on its way: it will get its answer.
		s.shut(closing, TransportClose, nil, eio.Noop)
	}
}

// start gives the session its handler and its heartbeat. From here on it is open.
func (s *Session) start(h Handler) {
	s.mu.Lock()
	s.handler = h
	s.state = open
	s.srv.stats.opened(s.transport)
	s.firstBeatLocked()
	s.mu.Unlock()
	h.Opened()
}

const (
	// lingerTimeout is how long a session that was closed here waits for a poll, to tell;
	// farewellTimeout is how long one that the client closed waits for a poll that the
	// client sent at the same time.
	lingerTimeout   = 30 * time.Second
	farewellTimeout = time.Second
)

// awaitEndLocked bounds the time that the session, which is closing, lingers.
func (s *Session) awaitEndLocked(farewell eio.Type) {
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
	if s.lingers && s.beat.due > s.srv.wheel.since()+closeTimeout {
		s.awaitEndLocked(eio.Close)
	}
}

// lastLocked ends a session that was closing. It has to be removed.
func (s *Session) lastLocked() {
	s.state, s.lingers = closed, false
	s.srv.wheel.clear(&s.beat.timer)
	if s.probe != nil {
		s.probe.dropLocked()
	}
}
