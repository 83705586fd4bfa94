package engine

import (
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/fifo"
)

// Handler owns a session.
type Handler interface {
	// Message is called for each message, in order, by one goroutine at a time. data is valid until
	// Message returns. Message must not block. It may call Session.Pause.
	Message(binary bool, data []byte)
	// Opened is called once, when the session is open and before anything is received. What it
	// sends follows OPEN; with polling it comes in the answer to the first poll. Opened must not
	// block.
	Opened()
	// Closed is called once, when the session has ended, but never from within Send, Queue or
	// SendVolatile. At that time one call of Message may be running, or about to begin, on another
	// goroutine. No further call follows.
	Closed(reason Reason, cause error)
}

// Session is one Engine.IO session. It outlives its first transport when the client upgrades to
// another. All methods are safe for concurrent use; only Drained blocks.
//
// mu guards the fields below it, unless a field's comment says otherwise. The session holds no
// lock while it writes bytes or calls a Handler.
type Session struct {
	id      string
	srv     *Server
	info    *Handshake
	handler Handler // set before anything is received
	traffic traffic
	spent   [budget.ConnectionKinds]budget.Balance // see Charge

	mu        sync.Mutex
	out       fifo.Queue[*Message]
	queued    int      // bytes in out, plus those that the transport took from it and has not written
	backlog   *backlog // nil while queued is within its limit and nobody waits in Drained
	transport transport
	upgrade   *upgrade      // nil: no upgrade is running
	resume    chan struct{} // closed when the session is resumed or ends; made by the goroutine that waits
	beat      heartbeat

	incoming int32         // bytes, see Hold
	reported int32         // what memory knows: steps of holdStep bytes
	halted   atomic.Uint32 // hasEnded, isPaused and isSlowed; changed under mu, read without it
	protocol eio.Protocol  // never changes
	state    state         // see changeLocked
	extended bool          // another packet has already extended the wait for the pong
}

// The bits of Session.halted.
const (
	hasEnded   = 1 << iota // the session was open and has ended
	isPaused               // by Pause
	isSlowed               // the client is over its budget
	isExpelled             // before it was open
)

func (s *Session) ended() bool { return s.halted.Load()&hasEnded != 0 }

// paused reports whether the session is not read from, for whichever reason.
func (s *Session) paused() bool { return s.halted.Load()&(isPaused|isSlowed) != 0 }

// ID returns the session's id.
func (s *Session) ID() string { return s.id }

// Protocol returns the revision of Engine.IO that the client speaks.
func (s *Session) Protocol() eio.Protocol { return s.protocol }

// Handshake returns the request that opened the session, as far as the server keeps it.
func (s *Session) Handshake() *Handshake { return s.info }

// Transport returns the name of the transport in use, see Transports.
func (s *Session) Transport() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport.name()
}

// Pause stops reading from the peer until Resume, so that the network makes the peer wait.
//
// After Pause has returned, Handler.Message is called for at most one more message, which was about
// to be handed on. What the transport has already read waits: one read buffer (reactor.BufferSize)
// over WebSocket, or the body of one POST over polling and sse. A POST that the client waits for in
// order to upgrade is handed on whole: the handler may be waiting for the client to go on.
func (s *Session) Pause() { s.setPaused(true) }

// Resume reads from the peer again.
func (s *Session) Resume() { s.setPaused(false) }

func (s *Session) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.haltLocked(isPaused, paused)
}

// haltLocked sets or clears one of the reasons not to read from the session.
func (s *Session) haltLocked(reason uint32, on bool) {
	before := s.paused()
	if on {
		s.halted.Store(s.halted.Load() | reason)
	} else {
		s.halted.Store(s.halted.Load() &^ reason)
	}
	paused := s.paused()
	if paused != before {
		s.pausedLocked()
	}
	if !paused {
		s.resumedLocked()
	}
	if !s.ended() { // or its client's farewell is read
		s.transport.pauseLocked(paused)
	}
}

// resumedLocked releases goroutines that wait for the session to be resumed or to end.
func (s *Session) resumedLocked() {
	if s.resume != nil {
		close(s.resume)
		s.resume = nil
	}
}

// received handles one packet from the transport, on the goroutine that reads from it.
func (s *Session) received(p eio.Packet) {
	if s.ended() {
		return
	}
	if p.Type != eio.Pong {
		s.extendWait()
	}
	if p.Type != eio.Message {
		s.Charge(budget.Frames, 1)
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
		// A poll that is on its way still gets an answer.
		s.close(TransportClose, eio.Noop)
	}
}

// start gives the session its handler and its heartbeat, and opens it.
func (s *Session) start(h Handler) {
	s.mu.Lock()
	s.handler = h
	s.changeLocked(open)
	s.mu.Unlock()
	h.Opened()
}
