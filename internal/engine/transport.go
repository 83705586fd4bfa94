package engine

import "github.com/parley-go/parley/internal/eio"

// The names of the transports, as in the transport parameter of a request.
const (
	transportPolling      = "polling"
	transportWebSocket    = "websocket"
	transportSSE          = "sse"
	transportWebTransport = "webtransport"
)

// Transports lists the names of the transports in the order of Stats.Opened.
var Transports = [...]string{transportPolling, transportWebSocket, transportSSE, transportWebTransport}

// transport carries the packets of a session, in both directions. What the session sends
// it takes from Session.out by itself, when it is woken; what it receives it gives to
// Session.received. Where a method's name ends in Locked the caller holds the session's
// lock; none of the methods blocks.
type transport interface {
	name() string
	// wakeLocked has it look at what is queued.
	wakeLocked()
	// readyLocked reports whether it could send at once what is queued now.
	readyLocked() bool
	// pauseLocked stops or resumes reading.
	pauseLocked(paused bool)
	// endLocked is called once, when the session is closing, or closed. The client is told
	// by the farewell, behind what is queued; with Noop it knows. It reports whether the
	// session has to linger, until the transport, or the heartbeat's timer, ends that.
	endLocked(farewell eio.Type) (linger bool)
	// cutLocked follows endLocked when the client is too slow: if it takes nothing, the
	// transport does not wait for it any more.
	cutLocked()
}

// keeper is a transport that keeps what it has sent until it has arrived.
type keeper interface {
	transport
	// arrivedLocked is called at a pong when no other is owed: the last ping that was sent has
	// arrived, and so has all before it.
	arrivedLocked()
}
