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

// candidate is a transport that a session may be upgraded to.
type candidate interface {
	transport
	// pongLocked answers the client's probe.
	pongLocked()
	// chosenLocked makes it the session's transport, which reads and writes.
	chosenLocked()
	// dropLocked ends it: it will not be the session's transport.
	dropLocked()
}

// original is a transport that a session may be upgraded from. It receives what clients
// post.
type original interface {
	transport
	posts() *posts
	// probedLocked is called when the client's probe is about to be answered: to go on it
	// waits for what is under way in the original to end, without a loss. The upgrade is off
	// if it returns false.
	probedLocked() bool
	// leaveLocked makes way for the candidate, or returns false if it cannot yet.
	leaveLocked() bool
}

// keeper is a transport that keeps what it has sent until it has arrived.
type keeper interface {
	transport
	// arrivedLocked is called at a pong when no other is owed: the last ping that was sent has
	// arrived, and so has all before it.
	arrivedLocked()
}

// tryLocked makes c the session's candidate, if it may be upgraded.
func (s *Session) tryLocked(c candidate) bool {
	if _, ok := s.transport.(original); !ok || s.probe != nil || s.state != open || s.srv.opts.NoUpgrades {
		return false
	}
	s.probe = c
	return true
}

// forgetLocked is called by a candidate that ends.
func (s *Session) forgetLocked(c candidate) {
	if s.probe != c {
		return
	}
	probed := s.probed
	s.probe, s.probed = nil, false
	if probed {
		s.transport.wakeLocked() // it goes on
	}
}

// probing handles what the session's candidate receives: a ping "probe", then the upgrade.
func (s *Session) probing(c candidate, p eio.Packet) {
	s.mu.Lock()
	gone := false
	switch from, _ := s.transport.(original); {
	case s.probe != c || s.state == closed:
	case p.Type == eio.Ping && string(p.Data) == eio.Probe:
		if !from.probedLocked() {
			c.dropLocked()
			break
		}
		s.probed = true
		c.pongLocked()
	case p.Type == eio.Upgrade && s.probed && from.leaveLocked():
		s.probe, s.probed = nil, false
		s.transport = c
		c.chosenLocked()
		s.srv.stats.Upgrades.Add(1)
		if gone = s.state == closing; gone { // the client did not know yet
			s.lingers = false
			s.srv.wheel.clear(&s.beat.timer)
			c.endLocked(eio.Close)
		} else {
			s.srv.stats.moved(from, c)
			if s.paused {
				c.pauseLocked(true)
			}
		}
		c.wakeLocked()
	default:
		c.dropLocked()
	}
	s.mu.Unlock()
	if gone {
		s.srv.remove(s)
	}
}
