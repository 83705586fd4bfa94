package engine

import (
	"sync/atomic"
	"time"
)

// The protocol's revision decides which side pings. In revision 4 the server does:
//
//	 server                                     client
//	ping ──────────────────────────────────────► waits PingInterval + PingTimeout for a ping
//	pong ◄────────────────────────────────────── answers at once
//	waits PingTimeout for a pong, then pings again after PingInterval
//
// In revision 3 the client pings every PingInterval and waits PingTimeout for the pong. The server
// waits PingInterval + PingTimeout for the next ping.
//
// The server does not read from a paused session, so it cannot see pings or pongs. It therefore
// expects none until the session is resumed, and then starts the full wait again. The peer does
// not know of the pause and must not give up, so the server keeps sending pings. In revision 3
// it sends unsolicited pongs instead, twice as often as the peer could need them. Clients accept
// each as the answer to their latest ping.

// heartbeat is a session's heartbeat. The session's lock guards it.
type heartbeat struct {
	timer timer
	// due is the exact time at which the timer runs out, since the wheel was made.
	due time.Duration
	// awaited is the number of pongs that the client owes. It may be read without the lock. In
	// revision 3 it is always 1: the client's next ping.
	awaited atomic.Int32
	heard   ago // the last pong; in revision 3 the last ping
	pulsed  ago // the server's last ping; in revision 3 its last pong
}

// ago is a time since the wheel was made, in tenths of a second; 0 means never.
type ago uint32

func (w *wheel) ago() ago { return ago(w.since()/(100*time.Millisecond)) + 1 }

// since returns the time since the wheel was made. t must not be 0.
func (t ago) since() time.Duration { return time.Duration(t-1) * 100 * time.Millisecond }

// at returns the time that t stands for, or the zero Time for 0.
func (w *wheel) at(t ago) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return w.base.Add(t.since())
}

// patience is how long the client may take for its pong or, in revision 3, for its next ping.
func (s *Session) patience() time.Duration {
	if s.protocol.ClientPings() {
		return s.srv.opts.PingInterval + s.srv.opts.PingTimeout
	}
	return s.srv.opts.PingTimeout
}

// pulse is the time between the pings that a paused session sends or, in revision 3, its pongs.
func (s *Session) pulse() time.Duration {
	if s.protocol.ClientPings() {
		return min(s.srv.opts.PingInterval, s.srv.opts.PingTimeout) / 2
	}
	return s.srv.opts.PingInterval
}

// beatLocked sets the timer to d after it was last due, so that delays of the wheel's ticks do not
// add up.
func (s *Session) beatLocked(d time.Duration) {
	s.beat.due += d
	s.srv.wheel.set(&s.beat.timer, s, s.beat.due)
}

// beatInLocked sets the timer to d from now.
func (s *Session) beatInLocked(d time.Duration) {
	s.beat.due = s.srv.wheel.since()
	s.beatLocked(d)
}

// firstBeatLocked starts the heartbeat.
func (s *Session) firstBeatLocked() {
	if s.protocol.ClientPings() {
		s.beat.pulsed = s.srv.wheel.ago()
		s.beat.awaited.Store(1)
		s.beatInLocked(s.patience())
	} else {
		s.beatInLocked(s.srv.opts.PingInterval)
	}
}

// pausedLocked is called after the session was paused or resumed. It must not just restart the
// timer: a session can be paused and resumed so often that the timer would never run out.
func (s *Session) pausedLocked() {
	if s.state != open || s.beat.awaited.Load() == 0 {
		return
	}
	if !s.paused() {
		s.beatInLocked(s.patience()) // time to read what may have arrived
		return
	}
	wait := s.beat.pulsed.since() + s.pulse() - s.srv.wheel.since()
	if wait <= 0 {
		s.pulseLocked()
		wait = s.pulse()
	}
	s.beatInLocked(wait)
}

// alarm implements alarmed. Either a ping is due, or the client's pong or ping is late.
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

// pulseLocked sends a ping or, in revision 3, a pong. It does nothing if the previous one is still
// in the outbox: a client that does not poll needs no second one.
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

// overdueLocked reports whether the pong is late. The wheel may be about to notice.
func (s *Session) overdueLocked() bool {
	return s.beat.awaited.Load() > 0 && !s.paused() && s.srv.wheel.since() >= s.beat.due
}

// ping answers the client's ping, without its data, and starts the wait for the next one.
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

// pong schedules the next ping if the client owes no other pong. It ignores an unexpected pong.
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

// extendWait restarts the wait, once, for a peer that sends other packets but no pong yet.
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
