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

	mu      sync.Mutex // held during Deliver and ready
	pos     int64      // the subscriber has everything up to this number
	opening *opening   // nil when live
}

// opening holds messages that arrive while the page is being read.
type opening struct {
	buffer []*Live
	lost   bool // the buffer was full; it is empty now
}

const maxOpening = 1024 // messages in the buffer of an opening subscription

// Close ends the subscription. It does not wait, so a Deliver that has begun may still be running,
// but no other follows. You may call it from within Deliver, and more than once.
func (s *Subscription) Close() {
	if s.closed.Swap(true) {
		return
	}
	s.tail.leave(s)
	s.tail.log.release(s.tail)
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
	case o == nil:
		s.pos = n
		s.to.Deliver(m)
	case o.lost:
	case len(o.buffer) == maxOpening:
		o.buffer, o.lost = nil, true
	default:
		o.buffer = append(o.buffer, m)
	}
}

// restart empties the buffer before the page is read or read again.
func (s *Subscription) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = &opening{}
}

// goLive passes on the page, then the messages that arrived while it was being read. If there were
// too many, it does nothing and reports false.
func (s *Subscription) goLive(o Opened, ready func(Opened)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening.lost {
		return false
	}
	buffer := s.opening.buffer
	s.opening = nil
	s.pos = o.LastSeq
	ready(o)
	for _, m := range buffer {
		if n := m.Message.Number(); n > s.pos && !s.closed.Load() {
			s.pos = n
			s.to.Deliver(m)
		}
	}
	return true
}
