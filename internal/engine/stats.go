package engine

import (
	"slices"
	"sync/atomic"
)

// Stats counts what a Server has done since it was made.
type Stats struct {
	Opened        [len(Transports)]atomic.Uint64 // sessions, by the transport they began with
	Ended         [5]atomic.Uint64               // sessions, by reason: see Reasons
	Upgrades      atomic.Uint64
	Refused       atomic.Uint64 // handshakes
	PacketsIn     atomic.Uint64
	PacketsOut    atomic.Uint64
	BytesIn       atomic.Uint64 // of WebSocket connections and of HTTP bodies
	BytesOut      atomic.Uint64
	VolatileDrops atomic.Uint64
	SlowConsumers atomic.Uint64 // sessions that were ended for it
}

// Reasons lists the reasons in the order of Stats.Ended.
var Reasons = [...]Reason{TransportError, TransportClose, ForcedClose, PingTimeout, ParseError}

func (s *Stats) opened(transport string) {
	s.Opened[slices.Index(Transports[:], transport)].Add(1)
}

func (s *Stats) closed(reason Reason) {
	s.Ended[slices.Index(Reasons[:], reason)].Add(1)
}
