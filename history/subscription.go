package history

import (
	"sync"
	"sync/atomic"
)

// A Subscriber receives the live messages of a room.
type Subscriber interface {
	// Deliver is called in the room's order, exactly once for each message, by one goroutine at a
	// time. It must not block, because the whole room waits for it. It may close its subscription
	// and may keep m.
	Deliver(m *Live)
}

// Live is a message on its way to a room's subscribers, who share it. It is safe for concurrent
// use. You must not change it.
type Live struct {
	Message Message

	mu        sync.Mutex // guards additions to encodings
	encodings atomic.Pointer[encoding]
}

// encoding is a list of a message's encodings.
type encoding struct {
	kind, value any
	next        *encoding
}

// Encoded returns the encoding of this kind. On the first call with a kind, it calls build and
// keeps the result. So a message is encoded once for each kind of subscriber, not once for each
// subscriber. Kinds are compared with ==; a value of your own type can be a kind.
func (l *Live) Encoded(kind any, build func(*Message) any) any {
	if e := l.encodings.Load().find(kind); e != nil {
		return e.value
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.encodings.Load()
	e := first.find(kind)
	if e == nil {
		e = &encoding{kind, build(&l.Message), first}
		l.encodings.Store(e)
	}
	return e.value
}

func (e *encoding) find(kind any) *encoding {
	for e != nil && e.kind != kind {
		e = e.next
	}
	return e
}

// A Subscription is one subscriber's place in a room. It is safe for concurrent use.
type Subscription struct {
	tail   *tail
	index  int // in tail.subs; guarded by tail.mu
	to     Subscriber
	closed atomic.Bool

	mu      sync.Mutex  // held during Deliver and ready
	behind  atomic.Bool // see Paced; changed under mu, except that end makes it false
	pos     int64       // the subscriber has everything up to this number
	opening *opening    // nil when it has been live
	opened  bool        // ready was called
}

// opening is what a subscription needs until it is live for the first time. While the page is being
// read, it holds the messages that arrive.
type opening struct {
	buffer   []*Live
	bytes    int         // of buffer
	lost     bool        // the buffer was full; it is empty now
	caughtUp func(int64) // see OpenOptions.CaughtUp; may be nil
}

// Close ends the subscription. It does not wait, so a Deliver that has begun may still be running,
// but no other follows. You may call it from within Deliver, and more than once.
func (s *Subscription) Close() { s.end() }

// end is Close. It reports whether this call ended the subscription.
func (s *Subscription) end() bool {
	if s.closed.Swap(true) {
		return false
	}
	s.goAhead()
	s.tail.leave(s)
	s.tail.log.release(s.tail)
	return true
}

// Head returns the room's newest number that is known here. If it is 0, the room has no messages yet,
// as far as is known.
func (s *Subscription) Head() int64 { return s.tail.position() }

// deliver is called by the goroutine that delivers the room's messages.
func (s *Subscription) deliver(m *Live) {
	if s.closed.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := m.Message.Number()
	switch o := s.opening; {
	case n <= s.pos: // in the page
	case s.behind.Load(): // the log will read it
	case o == nil:
		s.passLocked(m)
	case o.lost:
	case !hasRoom(len(o.buffer), o.bytes):
		o.buffer, o.lost = nil, true
	default:
		o.buffer = append(o.buffer, m)
		o.bytes += m.Message.Size()
	}
}

// passLocked passes m to the subscriber. It reports false if the subscriber is behind.
func (s *Subscription) passLocked(m *Live) bool {
	if p, ok := s.to.(Paced); ok && p.Behind() {
		s.fallBehindLocked()
		p.WhenDrained(s.drained)
		return false
	}
	s.pos = m.Message.Number()
	s.to.Deliver(m)
	return true
}

// passAllLocked passes on what the subscriber does not have. It reports false if the subscriber is
// behind or the subscription has ended.
func (s *Subscription) passAllLocked(messages []*Live) bool {
	for _, m := range messages {
		if s.closed.Load() || m.Message.Number() > s.pos && !s.passLocked(m) {
			return false
		}
	}
	return !s.closed.Load()
}

// restart empties the buffer before the page is read or read again.
func (s *Subscription) restart(o OpenOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = &opening{caughtUp: o.CaughtUp}
}

// goLive passes on the page, then the messages that arrived while it was being read. If there were
// too many, or the room was erased, it does nothing and reports false.
func (s *Subscription) goLive(o Opened, ready func(Opened)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening.lost || s.closed.Load() {
		return false
	}
	buffer := s.opening.buffer
	s.pos, s.opened = o.LastSeq, true
	ready(o)
	s.caughtUpLocked()
	s.passAllLocked(buffer)
	return true
}

// goOn makes the subscriber one that is behind, from the position in o on. If the room was erased, it
// does nothing and reports false.
func (s *Subscription) goOn(o Opened, ready func(Opened)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	s.opening.buffer = nil
	s.pos, s.opened = o.LastSeq, true
	s.fallBehindLocked()
	ready(o)
	s.drained()
	return true
}

// take passes on what the subscriber lacks of p, and makes it live if nothing follows. It reports
// whether the subscriber takes more.
func (s *Subscription) take(p *catchUpPage) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.passAllLocked(p.messages) {
		return false
	}
	s.pos = p.upTo
	recent, ok := s.tail.recent()
	if !p.last || !ok {
		return true
	}
	if s.passAllLocked(recent) {
		s.caughtUpLocked()
		s.goAhead()
	}
	return false
}

// isReady reports whether the subscriber can take messages. If it is behind, it will be ready later.
func (s *Subscription) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := s.to.(Paced); {
	case s.closed.Load():
		return false
	case p.Behind():
		p.WhenDrained(s.drained)
		return false
	}
	return true
}

// drained is called when the client has taken what it had.
func (s *Subscription) drained() { s.tail.ready(s) }

// caughtUpLocked notes that the subscriber has everything that was stored.
func (s *Subscription) caughtUpLocked() {
	o := s.opening
	if s.opening = nil; o != nil && o.caughtUp != nil {
		o.caughtUp(s.pos)
	}
}

// fallBehindLocked makes the subscriber one that is behind.
func (s *Subscription) fallBehindLocked() {
	if !s.behind.Swap(true) {
		s.tail.log.behind.Add(1)
	}
	if s.closed.Load() { // meanwhile
		s.goAhead()
	}
}

// goAhead undoes fallBehindLocked.
func (s *Subscription) goAhead() {
	if s.behind.Swap(false) {
		s.tail.log.behind.Add(-1)
	}
}

func (s *Subscription) position() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pos
}
