package engine

import (
	"net/http"
	"slices"

	"github.com/parley-go/parley/internal/eio"
)

// Transports lists the names of the transports, as in the transport parameter of a request,
// in the order of Stats.Opened.
var Transports = [...]string{transportPolling, transportWebSocket, transportSSE, transportWebTransport}

// kinds has what the server knows of each transport in Transports. A new transport is
// registered here and there, and all else stands in its own file. They are set by init since
// they refer to functions that refer to them.
var kinds [len(Transports)]kind

func init() { kinds = [...]kind{pollingKind, webSocketKind, sseKind, webTransportKind} }

// kind is a transport before a session has it.
type kind struct {
	reach     reach
	revision3 bool // for clients of revision 3, too
	// offered reports whether handshakes may say at present that sessions can be upgraded to
	// it. Nil is never.
	offered func(*Server) bool
	// With byRequest, begin answers a GET without a session, and serve one of a session that
	// has the transport.
	begin func(*Server, http.ResponseWriter, *http.Request, query)
	serve func(*Session, http.ResponseWriter, *http.Request, query)
}

// reach is how clients get to a transport.
type reach uint8

const (
	unreachable reach = iota // with ServeHTTP
	byRequest
	byUpgrade // of the connection
)

// kindOf returns the kind of the transport with that name. The zero kind, of others, is
// unreachable.
func kindOf(transport string) kind {
	if i := slices.Index(Transports[:], transport); i >= 0 {
		return kinds[i]
	}
	return kind{}
}

// upgrades returns what a session that begins with polling or sse may be upgraded to.
func (s *Server) upgrades(p eio.Protocol) []string {
	var to []string
	if s.opts.NoUpgrades {
		return nil
	}
	for i, name := range Transports {
		k := &kinds[i]
		if k.offered != nil && s.opts.allows(name) && (p == eio.V4 || k.revision3) && k.offered(s) {
			to = append(to, name)
		}
	}
	return to
}

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
