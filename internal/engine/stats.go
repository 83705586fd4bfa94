package engine

import (
	"slices"
	"sync/atomic"
)

// Stats counts what a Server has done since it was made.
type Stats struct {
	Open          [len(Transports)]atomic.Int64  // sessions now, by the transport they have
	Opened        [len(Transports)]atomic.Uint64 // sessions, by the transport they began with
	Ended         [5]atomic.Uint64               // sessions, by reason: see Reasons
	Upgrades      atomic.Uint64
	Refused       [len(Refusals)]atomic.Uint64 // requests, handshakes nearly all of them, by reason: see Refusals
	PacketsIn     atomic.Uint64
	PacketsOut    atomic.Uint64
	BytesIn       atomic.Uint64 // of WebSocket connections and of HTTP bodies
	BytesOut      atomic.Uint64
	VolatileDrops atomic.Uint64
	SlowConsumers atomic.Uint64 // sessions that were ended for it
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
