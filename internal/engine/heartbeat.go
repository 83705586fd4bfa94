package engine

import (
	"sync/atomic"
	"time"
)

// Who pings depends on the protocol's revision. In revision 4 the server does:
//
//	 server                                     client
//	ping ──────────────────────────────────────► waits PingInterval + PingTimeout for a ping
//	pong ◄────────────────────────────────────── answers at once
//	waits PingTimeout for a pong, then pings again after PingInterval
//
// In revision 3 the client pings every PingInterval and waits PingTimeout for the pong, and
// the server waits for both times together for the next ping.
//
// A paused session is not read from, so it cannot see what the peer owes it: it waits for
// nothing until it is resumed, and then for the whole time. But its peer does not know of the
// pause and must not give up. So pings go on. For the peer's pings that cannot be read, the
// server sends pongs unasked, twice as often as the peer could need them: clients take each
// for the answer to their latest ping.

// heartbeat is the heartbeat's part of a session. It is guarded by the session's lock.
type heartbeat struct {
	timer timer
	// due is when the timer runs out, exactly, since the wheel was made.
	due time.Duration
	// awaited is how many pongs the client owes. It may be read without the lock. Where the
	// client pings, its next ping is always awaited.
	awaited atomic.Int32
	heard   ago // the last pong or, where the client pings, ping
	pulsed  ago // our last ping or, where the client pings, pong
}

// ago is a time since the wheel was made, in tenths of a second; 0 is never.
type ago uint32

func (w *wheel) ago() ago { return ago(w.since()/(100*time.Millisecond)) + 1 }

// since is the time since the wheel was made, for a t that is not never.
func (t ago) since() time.Duration { return time.Duration(t-1) * 100 * time.Millisecond }

// at returns the time that t stands for, the zero Time for never.
func (w *wheel) at(t ago) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return w.base.Add(t.since())
}

// patience is how long what the client owes may take: its pong or, where the client pings,
// its next ping.
func (s *Session) patience() time.Duration {
	if s.protocol.ClientPings() {
		return s.srv.opts.PingInterval + s.srv.opts.PingTimeout
	}
	return s.srv.opts.PingTimeout
}

// pulse is the time between the pings of a session that is paused or, where the client pings,
// the pongs.
func (s *Session) pulse() time.Duration {
	if s.protocol.ClientPings() {
		return min(s.srv.opts.PingInterval, s.srv.opts.PingTimeout) / 2
	}
	return s.srv.opts.PingInterval
}

// beatLocked sets the timer to run out d after it was last due, so that the wheel's ticks do
// not add up.
func (s *Session) beatLocked(d time.Duration) {
	s.beat.due += d
	s.srv.wheel.set(&s.beat.timer, s, s.beat.due)
}

// beatInLocked sets the timer to run out d from now.
func (s *Session) beatInLocked(d time.Duration) {
	s.beat.due = s.srv.wheel.since()
	s.beatLocked(d)
}

// firstBeatLocked begins the heartbeat.
func (s *Session) firstBeatLocked() {
	if s.protocol.ClientPings() {
		s.beat.pulsed = s.srv.wheel.ago()
		s.beat.awaited.Store(1)
		s.beatInLocked(s.patience())
	} else {
		s.beatInLocked(s.srv.opts.PingInterval)
	}
}

// pausedLocked is called when reading was paused or resumed. Sessions may be both in turn so
// often that the timer would never run out.
func (s *Session) pausedLocked() {
	if s.state != open || s.beat.awaited.Load() == 0 {
		return
	}
	if !s.paused() {
		s.beatInLocked(s.patience()) // to read what may be there
		return
	}
	wait := s.beat.pulsed.since() + s.pulse() - s.srv.wheel.since()
	if wait <= 0 {
		s.pulseLocked()
		wait = s.pulse()
	}
	s.beatInLocked(wait)
}

// alarm implements alarmed: it is time for a ping, or too late for what was awaited.
func (s *Session) alarm(*timer) {
	s.mu.Lock()
	if !s.srv.wheel.fired(&s.beat.timer) {
		s.mu.Unlock()
		return
	}
	switch {
	case s.state == lingering: // nobody came to fetch the last messages
		s.changeLocked(closed)
		s.mu.Unlock()
		s.srv.remove(s)
		return
	case s.state != open:
	case s.beat.awaited.Load() > 0 && !s.paused():
		s.mu.Unlock()
		s.end(PingTimeout, nil)
		return
	case s.paused():
		s.pulseLocked()
		s.beatLocked(s.pulse())
	default:
		s.pulseLocked()
		s.beatLocked(s.srv.opts.PingTimeout)
	}
	s.mu.Unlock()
}

// pulseLocked sends a ping or, where the client pings, a pong, unless the one before has not
// left the outbox: a client that does not poll needs no second one.
func (s *Session) pulseLocked() {
	m := pingMessage
	if s.protocol.ClientPings() {
		m = pongMessage
	}
	s.beat.pulsed = s.srv.wheel.ago()
	s.extended = false
	if s.out.Some(func(queued *Message) bool { return queued == m }) {
		return
	}
	if m == pingMessage {
		s.beat.awaited.Add(1)
	}
	s.out.Push(m)
	s.queued += m.Size()
	s.transport.wakeLocked()
}

// overdueLocked reports whether the pong should have been there by now: the wheel may
// be about to find out.
func (s *Session) overdueLocked() bool {
	return s.beat.awaited.Load() > 0 && !s.paused() && s.srv.wheel.since() >= s.beat.due
}

// ping answers the client's ping, without its data, and waits for the next one.
func (s *Session) ping() {
	s.mu.Lock()
	if s.state == open {
		s.beat.heard = s.srv.wheel.ago()
		s.beat.pulsed = s.beat.heard
		if !s.paused() {
			s.beatInLocked(s.patience())
		}
	}
	s.mu.Unlock()
	s.Send(pongMessage)
}

// pong schedules the next ping, if no other pong is owed. One that nobody waits for is
// ignored.
func (s *Session) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.beat.awaited.Load() > 0 && s.state == open {
		s.beat.heard = s.srv.wheel.ago()
		next := s.srv.opts.PingTimeout
		if s.beat.awaited.Add(-1) == 0 || s.paused() {
			next = s.srv.opts.PingInterval
		}
		s.beatInLocked(next)
	}
	if t, keeps := s.transport.(keeper); keeps && s.beat.awaited.Load() == 0 {
		t.arrivedLocked()
	}
}

// extendWait gives a peer that is late with its pong, but sends, its time once more.
func (s *Session) extendWait() {
	if s.beat.awaited.Load() == 0 || s.protocol.ClientPings() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.beat.awaited.Load() > 0 && !s.extended && !s.paused() && s.state == open {
		s.extended = true
		s.beatInLocked(s.srv.opts.PingTimeout)
	}
}
