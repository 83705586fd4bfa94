package engine

import (
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/eio"
)

// upgrade moves a session from its transport, the original, to another one, the candidate:
//
//	candidate                server
//	2probe ────────────────►                     probed: the original ends its work so that
//	◄──────────────── 3probe                     the client notices
//	5 ─────────────────────►                     the candidate becomes the session's transport
//
// If the candidate's connection ends before that, there is no upgrade.
type upgrade struct {
	to     candidate
	probed bool // the server has answered the client's probe
}

// candidate is a transport that a session may be upgraded to.
type candidate interface {
	transport
	// pongLocked answers the client's probe.
	pongLocked()
	// chosenLocked makes the candidate the session's transport, which reads and writes.
	chosenLocked()
	// dropLocked ends a candidate that will not become the session's transport.
	dropLocked()
}

// original is a transport that a session may be upgraded from. It receives what clients post.
type original interface {
	transport
	posts() *posts
	// probedLocked is called when the server is about to answer the client's probe. The client then
	// waits for the original to finish what is under way, without a loss. If probedLocked returns
	// false, there is no upgrade.
	probedLocked() bool
	// leaveLocked makes way for the candidate. It returns false if it cannot do so yet.
	leaveLocked() bool
}

// tryLocked makes c the session's candidate. It returns false if the session cannot be upgraded.
func (s *Session) tryLocked(c candidate) bool {
	if _, ok := s.transport.(original); !ok || s.upgrade != nil || s.state != open || s.srv.opts.NoUpgrades {
		return false
	}
	s.upgrade = &upgrade{to: c}
	return true
}

// triesLocked reports whether c is the session's candidate.
func (s *Session) triesLocked(c candidate) bool { return s.upgrade != nil && s.upgrade.to == c }

// probedLocked reports whether the original is coming to its end.
func (s *Session) probedLocked() bool { return s.upgrade != nil && s.upgrade.probed }

// abandonLocked is called by a candidate that ends, even if it is no longer the session's
// candidate.
func (s *Session) abandonLocked(c candidate) {
	if !s.triesLocked(c) {
		return
	}
	probed := s.upgrade.probed
	s.upgrade = nil
	if probed {
		s.transport.wakeLocked() // the original continues
	}
}

// probing handles what the session's candidate receives: a ping "probe", then the upgrade.
func (s *Session) probing(c candidate, p eio.Packet) {
	flood := s.overspent(budget.Frames, 1)
	s.mu.Lock()
	gone, upgraded := false, false
	switch from, _ := s.transport.(original); {
	case !s.triesLocked(c) || s.state == closed:
	case flood:
		c.dropLocked()
	case p.Type == eio.Ping && string(p.Data) == eio.Probe:
		if !from.probedLocked() {
			c.dropLocked()
			break
		}
		s.upgrade.probed = true
		if p := from.posts(); p.busy && !p.through {
			p.letThrough()
			s.resumedLocked()
		}
		c.pongLocked()
	case p.Type == eio.Upgrade && s.upgrade.probed && from.leaveLocked():
		s.upgrade = nil
		s.transport = c
		c.chosenLocked()
		s.srv.stats.Upgrades.Add(1)
		upgraded = true
		if gone = s.state.ending(); gone { // the client did not know of the end yet
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
	if upgraded {
		s.srv.opts.Logger.Debug("parley: connection upgraded", "session", s.ID())
	}
	if gone {
		s.srv.remove(s)
	}
}
