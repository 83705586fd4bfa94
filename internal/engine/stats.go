package engine

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/budget"
)

// Stats counts what a Server has done since it was made.
type Stats struct {
	Open          [len(Transports)]atomic.Int64  // open sessions, by their present transport
	Opened        [len(Transports)]atomic.Uint64 // sessions, by their first transport
	Ended         [5]atomic.Uint64               // sessions, by reason; see Reasons
	Upgrades      atomic.Uint64
	Refused       [len(Refusals)]atomic.Uint64 // requests, nearly all of them handshakes, by reason; see Refusals
	PacketsIn     atomic.Uint64
	PacketsOut    atomic.Uint64
	BytesIn       atomic.Uint64 // of WebSocket connections and of HTTP bodies
	BytesOut      atomic.Uint64
	VolatileDrops atomic.Uint64
	SlowConsumers atomic.Uint64                         // sessions that ended as slow consumers
	Evicted       atomic.Uint64                         // sessions that ended because of MaxMemory
	JoinTimeouts  atomic.Uint64                         // pending sessions that ended after JoinTimeout
	MadeRoom      atomic.Uint64                         // pending sessions that ended to make room for others
	Slowed        [budget.ConnectionKinds]atomic.Uint64 // how often a session was slowed down, by what its client spent too much of
}

// Reasons lists the reasons in the order of Stats.Ended.
var Reasons = [...]Reason{TransportError, TransportClose, ForcedClose, PingTimeout, ParseError}

func (s *Stats) opened(t transport) {
	s.Opened[indexOf(t)].Add(1)
	s.Open[indexOf(t)].Add(1)
}

// moved notes that an open session has changed its transport.
func (s *Stats) moved(from, to transport) {
	s.Open[indexOf(from)].Add(-1)
	s.Open[indexOf(to)].Add(1)
}

func indexOf(t transport) int { return slices.Index(Transports[:], t.name()) }

func (s *Stats) closed(reason Reason) {
	s.Ended[slices.Index(Reasons[:], reason)].Add(1)
}

// SessionStats describes a session at one moment, and counts what it has done until then. Bytes are
// those of WebSocket and WebTransport connections and of HTTP bodies.
type SessionStats struct {
	Transport  string // see Transports
	Protocol   int    // revision of Engine.IO: 4 or 3
	Age        time.Duration
	LastPong   time.Time // when the last pong arrived (in revision 3: the last ping), to 0.1 s; zero: none yet
	Paused     bool      // the server does not read from it
	Queued     int       // bytes in the outbox; each message counts for 200 more than its size
	PacketsIn  uint32    // modulo 2^32, like PacketsOut
	PacketsOut uint32
	BytesIn    uint64
	BytesOut   uint64
}

// Stats returns the session's present state and counters.
func (s *Session) Stats() SessionStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SessionStats{
		Transport: s.transport.name(), Protocol: int(s.protocol),
		Age: time.Since(s.info.Time()), LastPong: s.srv.wheel.at(s.beat.heard),
		Paused: s.paused(), Queued: s.queued,
		PacketsIn: s.traffic.packetsIn.Load(), PacketsOut: s.traffic.packetsOut.Load(),
		BytesIn: s.traffic.bytesIn.Load(), BytesOut: s.traffic.bytesOut.Load(),
	}
}

// traffic counts what a session has carried.
type traffic struct {
	bytesIn, bytesOut     atomic.Uint64
	packetsIn, packetsOut atomic.Uint32
}

// arrived counts what was received, for the session and the server, and charges the client for it.
func (s *Session) arrived(packets, bytes int) {
	if packets > 0 {
		s.traffic.packetsIn.Add(uint32(packets))
		s.srv.stats.PacketsIn.Add(uint64(packets))
	}
	if bytes > 0 {
		s.traffic.bytesIn.Add(uint64(bytes))
		s.srv.stats.BytesIn.Add(uint64(bytes))
		s.Charge(budget.Bytes, bytes)
	}
}

// sent counts what was written.
func (s *Session) sent(packets, bytes int) {
	if packets > 0 {
		s.traffic.packetsOut.Add(uint32(packets))
		s.srv.stats.PacketsOut.Add(uint64(packets))
	}
	if bytes > 0 {
		s.traffic.bytesOut.Add(uint64(bytes))
		s.srv.stats.BytesOut.Add(uint64(bytes))
	}
}
