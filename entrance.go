package parley

import (
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// entrance is the state that a socket needs only while its client joins the namespace:
//
//	connecting  Middleware runs. The rooms it joins and the events it emits are kept.
//	            ↓ admit: the socket enters the namespace and its rooms. Events sent to it are held.
//	entered     The handlers of OnConnection run.
//	            ↓ answer: the client learns that it is connected.
//	answered    ↓ release, at once or after settleTime: the held events are sent.
//	            The entrance no longer exists.
//
// So when the client reads the answer, its rooms and handlers are already in place, and no event
// overtakes the answer. Guarded by Socket.mu.
type entrance struct {
	rooms    []string // joined on entering
	entered  bool
	answered bool
	since    position   // for a recovered client: what it has received
	missed   []*Encoded // what came after since
	bare     bool       // middleware has to run
	held     []*Encoded
	bytes    int // of held
	timer    *time.Timer
}

const (
	// answerTime is the longest time that the answer to CONNECT waits for the handlers of
	// OnConnection.
	answerTime = time.Second

	// settleTime is the delay between the answer and the events that were emitted before it.
	// Clients that start to listen only after reading the answer would miss an event that arrives
	// in the same read. The protocol's own test suite does this.
	settleTime = 2 * time.Millisecond
)

// early reports whether the socket has not entered yet.
func (s *Socket) early() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.earlyLocked()
}

func (s *Socket) earlyLocked() bool { return s.entrance != nil && !s.entrance.entered }

// hold keeps e until the client knows that it is connected. If it already knows, handled is false.
// hold drops volatile events.
func (s *Socket) hold(e *Encoded, volatile bool) (handled, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.entrance
	if in == nil || volatile {
		return in != nil, false
	}
	in.held = append(in.held, e)
	in.bytes += e.size()
	if limit := s.nsp.srv.opts.maxOutbox(); in.entered && limit > 0 && in.bytes > limit {
		s.releaseLocked() // from here on, the outbox limit applies
	}
	return true, true
}

// resume makes a connecting socket continue the one that its client had before, which has received
// what is before since. It reports false if the socket is gone.
func (s *Socket) resume(c *comeback, since position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != connecting {
		return false
	}
	s.member.ID, s.data, s.comeback, s.recovered = c.id, c.data, c, true
	s.entrance.since, s.entrance.bare = since, c.bare
	for _, t := range c.stays {
		if t.to == stillThere && t.room != c.id {
			s.entrance.rooms = append(s.entrance.rooms, t.room)
		}
	}
	return true
}

// bare reports whether a recovered socket comes from another server, where values of keys have stayed.
func (s *Socket) bare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entrance != nil && s.entrance.bare
}

// admit lets the socket enter the namespace, unless it is gone.
func (s *Socket) admit() {
	admitted, direct, welcomed, late := false, false, false, false
	pending := s.nsp.local.change(s, func(c *change) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.state != connecting {
			return
		}
		in := s.entrance
		if direct = in == nil; direct { // nothing can come between the answer and what others send
			s.conn.session.Queue(s.connectAnswer().messages...)
			c.enter(nil)
		} else {
			if r := s.recovery(); r != nil && !r.enterLocked(s, in) {
				late = true
				return
			}
			c.enter(in.rooms)
			in.entered = true
		}
		admitted = true
		s.state = connected
		if welcomed = !direct && s.nsp.welcomes(); welcomed {
			s.working = true // the OnConnection handlers run before all events
			s.inbox.Push(task{run: s.runConnection})
			in.timer = time.AfterFunc(answerTime, s.answer)
		}
	})
	if !admitted {
		s.close(TransportClose)
		if late { // it cannot be recovered any more, but its middleware may have run as if it were
			s.conn.session.Close() // the client tries again
		}
		return
	}
	if !direct { // it has rooms, and a goroutine of its own
		await(pending)
	}
	s.nsp.srv.stats.connected.Add(1)
	if s.recovered {
		s.nsp.srv.stats.recovered.Add(1)
	}
	s.nsp.srv.proofs.admit(s.proof)
	s.logConnected()
	if !welcomed {
		s.forgetAuth()
	}
	switch {
	case welcomed:
		s.nsp.srv.work.add(1)
		s.nsp.srv.workers.run(s)
	case direct:
		s.conn.session.Flush()
	default:
		s.answer()
	}
}

func (s *Socket) connectAnswer() *Encoded {
	return s.nsp.encodeControl(sio.Connect, s.conn.revision().answer(s))
}

func (s *Socket) runConnection() {
	for _, t := range s.nsp.tables() {
		for _, f := range t.connection {
			if err := guard(func() error { f.call(s); return nil }); err != nil {
				s.report("connection", nil, err)
			}
		}
	}
	s.forgetAuth()
	s.answer()
}

// answer tells the client that it is connected, unless it has been told.
func (s *Socket) answer() {
	s.mu.Lock()
	missed := s.answerLocked()
	s.mu.Unlock()
	for _, e := range missed {
		s.sent(e)
	}
}

func (s *Socket) answerLocked() (missed []*Encoded) {
	in := s.entrance
	if in == nil || !in.entered || in.answered {
		return nil
	}
	in.answered = true
	stop(&in.timer)
	s.nsp.srv.stats.packetsOut.Add(uint64(len(in.missed)))
	var all []*engine.Message // together: however much it is, the client is not slow because of it
	for _, e := range in.missed {
		all = append(all, e.messages...)
	}
	s.conn.session.Queue(append(all, s.connectAnswer().messages...)...)
	s.conn.session.Flush()
	if len(in.held) == 0 {
		s.releaseLocked()
	} else {
		in.timer = time.AfterFunc(settleTime, s.release)
	}
	return in.missed
}

// release sends the held events, preceded by the answer if it has not been sent yet.
func (s *Socket) release() {
	s.mu.Lock()
	missed := s.answerLocked()
	s.releaseLocked()
	s.mu.Unlock()
	for _, e := range missed {
		s.sent(e)
	}
}

func (s *Socket) releaseLocked() {
	in := s.entrance
	if in == nil || !in.entered {
		return
	}
	s.answerLocked()
	stop(&in.timer)
	for _, e := range in.held {
		if s.conn.session.Send(e.messages...) {
			s.nsp.srv.stats.packetsOut.Add(1)
		}
	}
	s.entrance = nil
	s.entering.Store(false)
}
