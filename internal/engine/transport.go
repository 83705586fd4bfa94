package engine

import (
	"net/http"
	"slices"

	"github.com/parley-go/parley/internal/eio"
)

// Transports lists the names of the transports, as in a request's transport parameter, in the order
// of Stats.Opened.
var Transports = [...]string{transportPolling, transportWebSocket, transportSSE, transportWebTransport}

// kinds has an entry for each transport in Transports. A new transport needs an entry in both; the
// rest of it goes into its own file. init sets kinds, since the entries refer to functions that
// refer to kinds.
var kinds [len(Transports)]kind

func init() { kinds = [...]kind{pollingKind, webSocketKind, sseKind, webTransportKind} }

// kind describes a transport before a session uses it.
type kind struct {
	reach     reach
	revision3 bool // also for clients of revision 3
	// offered reports whether handshakes should now advertise the transport as an upgrade. Nil
	// means never.
	offered func(*Server) bool
	// With byRequest, begin answers a GET without a session. serve answers a GET of a session that
	// uses the transport.
	begin func(*Server, http.ResponseWriter, *http.Request, query)
	serve func(*Session, http.ResponseWriter, *http.Request, query)
}

// reach is how clients get to a transport.
type reach uint8

const (
	unreachable reach = iota // through ServeHTTP
	byRequest
	byUpgrade // by an upgrade of the connection
)

// kindOf returns the kind of the named transport, or the zero kind, which is unreachable, if there
// is none.
func kindOf(transport string) kind {
	if i := slices.Index(Transports[:], transport); i >= 0 {
		return kinds[i]
	}
	return kind{}
}

// upgrades returns the transports that a session can be upgraded to if it begins with polling or
// sse.
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

// transport carries the packets of a session in both directions. When it is woken, it takes packets
// from Session.out and sends them. It passes what it receives to Session.received. The caller of a
// method whose name ends in Locked holds the session's lock. No method blocks.
type transport interface {
	name() string
	// wakeLocked makes the transport look at what is queued.
	wakeLocked()
	// readyLocked reports whether the transport could send at once what is queued now.
	readyLocked() bool
	// pauseLocked stops or resumes reading.
	pauseLocked(paused bool)
	// endLocked is called once, when the session is closing or closed. The transport sends the
	// client the farewell after what is queued; with Noop the client knows already. endLocked
	// reports whether the session must linger until the transport, or the heartbeat's timer, ends
	// that.
	endLocked(farewell eio.Type) (linger bool)
	// cutLocked is called after endLocked when the client is too slow, or too much is held for it.
	// The transport no longer waits for the client, neither for it to take something nor for the rest
	// of a body.
	cutLocked()
}

// keeper is a transport that keeps what it has sent until that has arrived.
type keeper interface {
	transport
	// arrivedLocked is called at a pong if the client owes no other pong. Then the last ping has
	// arrived, and so has everything before it.
	arrivedLocked()
}
