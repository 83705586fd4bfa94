package engine

import (
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/fifo"
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
	id      string
	srv     *Server
	info    *Handshake
	handler Handler // set before anything is received
	traffic traffic

	mu        sync.Mutex
	out       fifo.Queue[*Message]
	queued    int      // bytes in out, and of what the transport took from it and has not written
	backlog   *backlog // nil while queued is within its limit and nobody waits for less
	transport transport
	upgrade   *upgrade      // nil: none is under way
	resume    chan struct{} // closed at Resume, made by who waits for it
	beat      heartbeat

	halted   atomic.Uint32 // hasEnded and isPaused; changed under mu, and read without it
	protocol eio.Protocol  // never changes
	state    state         // see changeLocked
	extended bool          // the wait for a pong, once, since another packet came
}

// What halts a session.
const (
	hasEnded = 1 << iota // it was open
	isPaused
)

func (s *Session) ended() bool  { return s.halted.Load()&hasEnded != 0 }
func (s *Session) paused() bool { return s.halted.Load()&isPaused != 0 }

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
// Once Pause has returned, Handler.Message is called at most for the one message that was about
// to be handed on. What the transport has read waits: over WebSocket that is one read buffer,
// reactor.BufferSize, over polling and sse the body of one POST.
func (s *Session) Pause() { s.setPaused(true) }

// Resume reads from the peer again.
func (s *Session) Resume() { s.setPaused(false) }

func (s *Session) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused() != paused {
		s.halted.Store(s.halted.Load() ^ isPaused)
		s.pausedLocked()
	}
	if !paused {
		s.resumedLocked()
	}
	if !s.ended() { // or its client's farewell is read
		s.transport.pauseLocked(paused)
	}
}

// resumedLocked releases those who wait for the session to be resumed, or to end.
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
		s.close(TransportClose, eio.Noop)
	}
}

// start gives the session its handler and its heartbeat. From here on it is open.
func (s *Session) start(h Handler) {
	s.mu.Lock()
	s.handler = h
	s.changeLocked(open)
	s.mu.Unlock()
	h.Opened()
}
