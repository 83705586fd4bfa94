package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/parley-go/parley/internal/eio"
)

// A session's outbox holds what the transport has yet to write. It is limited in bytes. But a peer
// is not slow because it was sent much at once. It is slow if it does not take what it is sent. So
// there are two limits.
//
//	0 ───────────── OutboxLimit ──────────────────────── ceiling × OutboxLimit
//	  always fine                the peer has to take        the session ends
//	                             some of it within
//	                             DrainTimeout
//
// The largest message does not count, or else the session could never send it. So a session holds
// at most the ceiling plus one message. If its peer takes nothing, it holds that for at most
// DrainTimeout.

// ceiling times OutboxLimit is the most that an outbox may hold while its peer takes something.
const ceiling = 4

// Send queues messages, together and in order, and reports whether it did. If the outbox would
// exceed its ceiling, the session ends, since the peer is too slow.
func (s *Session) Send(messages ...*Message) bool {
	return s.queue(sendSoon, messages)
}

// Queue is like Send, but the messages may wait for Flush.
func (s *Session) Queue(messages ...*Message) bool {
	return s.queue(queueOnly, messages)
}

// Flush sends what is queued.
func (s *Session) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transport.wakeLocked()
}

// SendVolatile queues messages only if the transport can send them at once: it is ready and nothing
// else waits. Otherwise it drops them and returns false.
func (s *Session) SendVolatile(messages ...*Message) bool {
	return s.queue(sendNow, messages)
}

// urgency is how soon messages are to be sent.
type urgency uint8

const (
	sendSoon  urgency = iota
	sendNow           // at once, or not at all
	queueOnly         // together with whatever is sent next
)

func (s *Session) queue(u urgency, messages []*Message) bool {
	s.mu.Lock()
	if s.state != open || u == sendNow && !(s.queued == 0 && s.transport.readyLocked()) {
		if s.state == open {
			s.srv.stats.VolatileDrops.Add(1)
		}
		s.mu.Unlock()
		return false
	}
	size := 0
	for _, m := range messages {
		size += m.Size()
	}
	if !s.growLocked(size) {
		tell := s.slowLocked(fmt.Sprintf("over %d bytes are queued", ceiling*s.srv.opts.OutboxLimit), s.backlog.idleLocked())
		s.mu.Unlock()
		go tell() // not here: the sender may hold locks that the handler needs
		return false
	}
	for _, m := range messages {
		s.out.Push(m)
	}
	if u != queueOnly {
		s.transport.wakeLocked()
	}
	s.mu.Unlock()
	return true
}

// Queued returns how many bytes wait to be sent.
func (s *Session) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// Behind reports whether it is better to send the peer nothing more now, if that can be sent later:
// over a quarter of OutboxLimit waits, or anything to speak of while the server holds over half of
// what it may.
func (s *Session) Behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.srv.opts.OutboxLimit
	return limit > 0 && s.queued > limit/4 || s.tightLocked()
}

// Drained sends what is queued and waits until at most below bytes of it are left. What is queued
// later does not count, so a busy session drains too. Bytes stop counting once the transport has
// handed them to the kernel, to net/http or to QUIC. The error is ErrEnded if the session ends
// first, or ctx's error.
func (s *Session) Drained(ctx context.Context, below int) error {
	s.mu.Lock()
	switch {
	case s.state != open:
		s.mu.Unlock()
		return ErrEnded
	case s.queued <= below:
		s.mu.Unlock()
		return nil
	}
	done := make(chan error, 1)
	b, w := s.awaitLocked(below, func(err error) { done <- err })
	s.mu.Unlock()

	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		b.waiters = slices.DeleteFunc(b.waiters, func(other *waiter) bool { return other == w })
		b.settleLocked()
		return ctx.Err()
	}
}

// WhenDrained calls f once, on a goroutine of its own, when Drained(ctx, 0) would return. Unlike
// that, it needs no goroutine until then.
func (s *Session) WhenDrained(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open || s.queued == 0 {
		go f()
		return
	}
	s.awaitLocked(0, func(error) { go f() })
}

// awaitLocked sends what is queued and calls done, under the lock, when at most below bytes of it
// are left or when the session ends.
func (s *Session) awaitLocked(below int, done func(error)) (*backlog, *waiter) {
	b, w := s.backlogLocked(), &waiter{left: s.queued - below, done: done}
	b.waiters = append(b.waiters, w)
	s.transport.wakeLocked()
	return b, w
}

// growLocked adds a batch of size bytes to what is queued. It returns false if this takes an open
// session over the ceiling.
func (s *Session) growLocked(size int) bool {
	s.queued += size
	s.reportLocked()
	limit := s.srv.opts.OutboxLimit
	if limit <= 0 || s.queued <= limit || s.state != open {
		return true
	}
	b := s.backlogLocked()
	b.largest = max(b.largest, size)
	switch waiting := s.queued - b.largest; {
	case waiting > ceiling*limit:
		return false
	case waiting > limit && !b.over:
		b.over = true
		b.progress = s.srv.wheel.since()
		if d := s.srv.opts.DrainTimeout; d > 0 {
			s.srv.wheel.set(&b.deadline, b, b.progress+d)
		}
	}
	return true
}

// tookLocked notes that the peer has taken something. The transport has finished size bytes of what
// was queued; size is 0 if it wrote only a part of a message.
func (s *Session) tookLocked(size int) {
	s.queued = max(0, s.queued-size) // it is 0 already if the session has ended
	s.reportLocked()
	if s.backlog != nil {
		s.backlog.progress = s.srv.wheel.since()
		for _, w := range s.backlog.waiters {
			w.left -= size
		}
		s.backlog.settleLocked()
	}
}

// backlog exists while a session has more queued than its limit, or while a call of Drained or
// WhenDrained waits. The session's lock guards it.
type backlog struct {
	s        *Session
	largest  int           // the largest batch of messages, in bytes, since the backlog was made
	over     bool          // the limit
	deadline timer         // set while over
	progress time.Duration // when the peer last took something, or the limit was exceeded; since the wheel was made
	waiters  []*waiter
}

// waiter is a call of Drained or WhenDrained.
type waiter struct {
	left int         // bytes that the peer has yet to take
	done func(error) // is called under the session's lock
}

func (s *Session) backlogLocked() *backlog {
	if s.backlog == nil {
		s.backlog = &backlog{s: s, progress: s.srv.wheel.since()}
	}
	return s.backlog
}

// settleLocked updates the backlog after the queue, or the list of waiters, has become shorter.
func (b *backlog) settleLocked() {
	s, limit := b.s, b.s.srv.opts.OutboxLimit
	b.waiters = slices.DeleteFunc(b.waiters, func(w *waiter) bool {
		if w.left > 0 {
			return false
		}
		w.done(nil)
		return true
	})
	if b.over && s.queued-b.largest <= limit {
		b.over = false
		s.srv.wheel.clear(&b.deadline)
	}
	if s.backlog == b && len(b.waiters) == 0 && (limit <= 0 || s.queued <= limit) {
		s.backlog = nil
	}
}

// endLocked is called when the session ends.
func (b *backlog) endLocked() {
	for _, w := range b.waiters {
		w.done(ErrEnded)
	}
	b.waiters, b.over = nil, false
	b.s.srv.wheel.clear(&b.deadline)
	b.s.backlog = nil
}

// idleLocked returns how long the peer has taken nothing.
func (b *backlog) idleLocked() time.Duration { return b.s.srv.wheel.since() - b.progress }

// alarm implements alarmed: the peer may have taken nothing for DrainTimeout.
func (b *backlog) alarm(t *timer) {
	s := b.s
	s.mu.Lock()
	timeout := s.srv.opts.DrainTimeout
	if !s.srv.wheel.fired(t) || !b.over {
		s.mu.Unlock()
		return
	}
	if b.idleLocked() < timeout {
		s.srv.wheel.set(t, b, b.progress+timeout)
		s.mu.Unlock()
		return
	}
	tell := s.stalledLocked(b.idleLocked())
	s.mu.Unlock()
	tell()
}

// stalledLocked ends an open session because the peer has taken nothing for d. The caller must call
// tell after it releases the lock.
func (s *Session) stalledLocked(d time.Duration) (tell func()) {
	return s.slowLocked(fmt.Sprintf("nothing taken for %v", d.Round(time.Millisecond)), d)
}

// slowLocked ends an open session because its peer is too slow. The caller must call tell after it
// releases the lock.
func (s *Session) slowLocked(why string, stalled time.Duration) (tell func()) {
	queued, transport := s.queued, s.transport.name()
	end := s.endLocked(closed, TransportError, fmt.Errorf("%w: %s", ErrSlowConsumer, why), eio.Close)
	s.transport.cutLocked()
	s.srv.stats.SlowConsumers.Add(1)
	return func() {
		s.srv.notices.Post(slog.LevelInfo, "slow", "parley: slow consumer disconnected", "session", s.id, "address", s.info.Address,
			"transport", transport, "reason", why, "queued", queued, "stalled", stalled)
		end()
	}
}
