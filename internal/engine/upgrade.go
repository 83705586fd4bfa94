package engine

import "github.com/parley-go/parley/internal/eio"

// upgrade is a session's way from its transport, the original, to another, the candidate:
//
//	candidate                server
//	2probe ────────────────►                     probed: the original comes to an end that
//	◄──────────────── 3probe                     the client sees
//	5 ─────────────────────►                     the candidate is the session's transport
//
// It is off when the candidate's connection ends before.
type upgrade struct {
	to     candidate
	probed bool // the client's probe was answered
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

// tryLocked makes c the session's candidate, if it may be upgraded.
func (s *Session) tryLocked(c candidate) bool {
	if _, ok := s.transport.(original); !ok || s.upgrade != nil || s.state != open || s.srv.opts.NoUpgrades {
		return false
	}
	s.upgrade = &upgrade{to: c}
	return true
}

// triesLocked reports whether c is the session's candidate.
func (s *Session) triesLocked(c candidate) bool { return s.upgrade != nil && s.upgrade.to == c }

// probedLocked reports whether the original comes to its end.
func (s *Session) probedLocked() bool { return s.upgrade != nil && s.upgrade.probed }

// abandonLocked is called by a candidate, or what was one, that ends.
func (s *Session) abandonLocked(c candidate) {
	if !s.triesLocked(c) {
		return
	}
	probed := s.upgrade.probed
	s.upgrade = nil
	if probed {
		s.transport.wakeLocked() // it goes on
	}
}

// probing handles what the session's candidate receives: a ping "probe", then the upgrade.
func (s *Session) probing(c candidate, p eio.Packet) {
	s.mu.Lock()
	gone := false
	switch from, _ := s.transport.(original); {
	case !s.triesLocked(c) || s.state == closed:
	case p.Type == eio.Ping && string(p.Data) == eio.Probe:
		if !from.probedLocked() {
			c.dropLocked()
			break
		}
		s.upgrade.probed = true
		c.pongLocked()
	case p.Type == eio.Upgrade && s.upgrade.probed && from.leaveLocked():
		s.upgrade = nil
		s.transport = c
		c.chosenLocked()
		s.srv.stats.Upgrades.Add(1)
		if gone = s.state.ending(); gone { // the client did not know yet
			if s.state == lingering {
				s.changeLocked(closing)
			}
			c.endLocked(eio.Close)
		} else {
			s.srv.stats.moved(from, c)
			if s.paused() {
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
