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

	mu     sync.Mutex
	queue  [][]byte
	queued int   // bytes in queue
	ended  error // why nothing more can be queued: ErrClosed or ErrSlow
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
		s.ended, s.queue, s.queued = ErrSlow, nil, 0
		s.signal()
		return ErrSlow
	}
	s.queue = append(s.queue, event)
	s.queued += len(event)
	s.stats.events.Add(1)
	s.signal()
	return nil
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
		s.queue, s.queued = nil, 0
		s.mu.Unlock()
		if len(queue) == 0 {
			return ended
		}
		if err := s.write(queue...); err != nil {
			return err
		}
	}
}

// begin writes the header and tells the client how long to wait before it comes back.
func (s *Stream) begin() error {
	s.begun = true
	s.control.SetReadDeadline(time.Time{}) // the server's deadline is meant for requests
	s.w.WriteHeader(http.StatusOK)
	return s.write(fmt.Appendf(nil, ":\nretry: %d\n\n", spread(s.opts.Retry, 0.5, 1.5).Milliseconds()))
}

// write gives the client WriteTimeout for each event. The server's limit for whole responses does
// not apply.
func (s *Stream) write(events ...[]byte) error {
	var deadline time.Time
	var err error
	for _, b := range events {
		deadline = time.Now().Add(s.opts.WriteTimeout)
		if err = s.control.SetWriteDeadline(deadline); err != nil {
			return err
		}
		if _, err = s.w.Write(b); err != nil {
			break
		}
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
			err = s.write([]byte(":\n\n"))
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
