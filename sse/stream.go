package sse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Errors that sending returns.
var (
	ErrClosed = errors.New("sse: stream has ended")
	ErrSlow   = errors.New("sse: client is too far behind")
)

// A Stream is the connection of one client. Sending is safe for concurrent use and never waits.
type Stream struct {
	// mu guards the queue. The request's goroutine owns the ResponseWriter: no other goroutine may
	// use it, and nobody may use it after the handler has returned.

	w       http.ResponseWriter
	control *http.ResponseController
	ctx     context.Context // of the request
	opts    *Options
	stats   *counters
	head    bool // the request is a HEAD
	begun   bool // the header has been written
	broken  bool // writing has failed

	wake chan struct{} // holds one value: there is something to do

	mu      sync.Mutex
	queue   [][]byte
	queued  int      // bytes in queue, and those that were taken from it and are not written yet
	drained []func() // see WhenDrained
	ended   error    // why nothing more can be queued: ErrClosed or ErrSlow
}

func newStream(w http.ResponseWriter, r *http.Request, o *Options, c *counters) *Stream {
	return &Stream{
		w: w, control: http.NewResponseController(w), ctx: r.Context(), opts: o, stats: c,
		head: r.Method == http.MethodHead, wake: make(chan struct{}, 1),
	}
}

// Context returns the request's context, which ends when the client is gone.
func (s *Stream) Context() context.Context { return s.ctx }

// Send queues an event. The error is ErrIllegal, ErrSlow (which also ends the stream), or
// ErrClosed.
func (s *Stream) Send(e *Event) error {
	b, err := e.Append(nil)
	if err != nil {
		return err
	}
	return s.SendEncoded(b)
}

// SendEncoded queues the result of Event.Append. You may send the same result to many streams, and
// must not change it afterwards.
func (s *Stream) SendEncoded(event []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil:
		return s.ended
	case s.head:
		return nil
	case s.queued+len(event) > s.opts.MaxQueue && s.queued > 0: // one event always fits
		s.ended = ErrSlow
		s.dropLocked()
		s.signal()
		return ErrSlow
	}
	s.queue = append(s.queue, event)
	s.countLocked(len(event))
	s.stats.events.Add(1)
	s.signal()
	return nil
}

// Behind reports whether the client has yet to receive so much that it is better not to send it
// more now, if it can be sent later: over a quarter of Options.MaxQueue is queued, or anything at
// all while over Options.MaxTotal is queued for all streams together.
func (s *Stream) Behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued > s.opts.MaxQueue/4 || s.queued > 0 && s.stats.queued.Load() > int64(s.opts.MaxTotal)
}

// WhenDrained calls f once, when everything that is queued has been written to the client's
// connection. It does not wait. If the stream ends before, f is not called. f must not block.
func (s *Stream) WhenDrained(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return
	}
	if len(s.drained) == 0 {
		s.stats.behind.Add(1)
	}
	s.drained = append(s.drained, f)
	s.signal()
}

// Fail ends the stream after it has written what is queued and then last, if that is not nil. It is
// for a feed that cannot go on; Stats.Failed counts the stream. The client comes back. Fail does not
// wait.
func (s *Stream) Fail(last *Event) {
	if last != nil {
		s.Send(last)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = ErrClosed
		s.stats.failed.Add(1)
	}
	s.signal()
}

// countLocked counts bytes that are queued, or no longer queued.
func (s *Stream) countLocked(n int) {
	s.queued += n
	s.stats.queued.Add(int64(n))
}

// dropLocked drops what is queued, and those who wait for it.
func (s *Stream) dropLocked() {
	s.queue = nil
	s.countLocked(-s.queued)
	s.takeDrainedLocked()
}

// takeDrainedLocked returns those who wait until nothing is queued, since they wait no longer.
func (s *Stream) takeDrainedLocked() []func() {
	drained := s.drained
	if s.drained = nil; len(drained) > 0 {
		s.stats.behind.Add(-1)
	}
	return drained
}

// Close ends the stream after it has written what is queued. It does not wait.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = ErrClosed
	}
	s.signal()
}

func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Flush writes what is queued, and returns when it has been written to the client's connection. It
// is meant for an Open that has more to send than the queue holds. Only Open may call it.
func (s *Stream) Flush() error {
	if s.head {
		return nil
	}
	if !s.begun {
		if err := s.begin(); err != nil {
			return err
		}
	}
	for {
		s.mu.Lock()
		queue, ended := s.queue, s.ended
		s.queue = nil
		var drained []func()
		if len(queue) == 0 {
			drained = s.takeDrainedLocked()
		}
		s.mu.Unlock()
		for _, f := range drained {
			f()
		}
		if len(queue) == 0 {
			return ended
		}
		if err := s.write(s.wrote, queue...); err != nil {
			return err
		}
	}
}

// begin writes the header and tells the client how long to wait before it comes back.
func (s *Stream) begin() error {
	s.begun = true
	s.control.SetReadDeadline(time.Time{}) // the server's deadline is meant for requests
	s.w.WriteHeader(http.StatusOK)
	return s.write(unqueued, fmt.Appendf(nil, ":\nretry: %d\n\n", spread(s.opts.Retry, 0.5, 1.5).Milliseconds()))
}

// write writes events, drops each when it is written, and tells written. It gives the client
// WriteTimeout for each. The server's limit for whole responses does not apply.
func (s *Stream) write(written func(bytes int), events ...[]byte) error {
	var deadline time.Time
	var err error
	for i, b := range events {
		deadline = time.Now().Add(s.opts.WriteTimeout)
		if err = s.control.SetWriteDeadline(deadline); err != nil {
			return err
		}
		if _, err = s.w.Write(b); err != nil {
			break
		}
		events[i] = nil
		written(len(b))
	}
	if err == nil {
		err = s.control.Flush()
	}
	s.broken = err != nil
	switch {
	case err == nil:
		return s.control.SetWriteDeadline(time.Time{})
	case !time.Now().Before(deadline): // over HTTP/2, the error does not say so
		return ErrSlow
	}
	return err
}

// wrote counts bytes that were queued until now.
func (s *Stream) wrote(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != ErrSlow { // else nothing is queued any more
		s.countLocked(-bytes)
	}
}

func unqueued(int) {}

// run writes until the stream ends, and returns the reason. At the end of the lifetime that is
// ErrClosed.
func (s *Stream) run() error {
	if err := s.Flush(); err != nil {
		return err
	}
	keepAlive := time.NewTimer(s.opts.KeepAlive)
	defer keepAlive.Stop()
	var lifetime <-chan time.Time
	if s.opts.Lifetime > 0 {
		t := time.NewTimer(spread(s.opts.Lifetime, 0.8, 1))
		defer t.Stop()
		lifetime = t.C
	}
	for {
		var err error
		select {
		case <-s.wake:
			err = s.Flush()
		case <-keepAlive.C:
			err = s.write(unqueued, []byte(":\n\n"))
		case <-lifetime:
			s.Close()
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if err != nil {
			return err
		}
		keepAlive.Reset(s.opts.KeepAlive)
	}
}

// spread returns a random duration between d*least and d*most.
func spread(d time.Duration, least, most float64) time.Duration {
	return time.Duration(float64(d) * (least + (most-least)*rand.Float64()))
}
