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

// Errors of sending.
var (
	ErrClosed = errors.New("sse: stream has ended")
	ErrSlow   = errors.New("sse: client is too far behind")
)

// A Stream is one client. Sending is safe for concurrent use and never waits.
//
// What waits to be written is guarded by mu. The ResponseWriter is owned by the goroutine of
// the request: nobody else may touch it, and not after the handler has returned.
type Stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	ctx     context.Context // of the request
	opts    *Options
	stats   *counters
	head    bool // the client wants to see the header only
	begun   bool // the header has been written
	broken  bool // writing has failed

	wake chan struct{} // holds one value: there is something to do

	mu     sync.Mutex
	queue  [][]byte
	queued int   // bytes of it
	ended  error // why nothing more is queued: ErrClosed or ErrSlow
}

func newStream(w http.ResponseWriter, r *http.Request, o *Options, c *counters) *Stream {
	return &Stream{
		w: w, control: http.NewResponseController(w), ctx: r.Context(), opts: o, stats: c,
		head: r.Method == http.MethodHead, wake: make(chan struct{}, 1),
	}
}

// Context ends when the client is gone.
func (s *Stream) Context() context.Context { return s.ctx }

// Send queues an event. The error is ErrIllegal, ErrSlow, with which the stream ends, or
// ErrClosed.
func (s *Stream) Send(e *Event) error {
	b, err := e.Append(nil)
	if err != nil {
		return err
	}
	return s.SendEncoded(b)
}

// SendEncoded queues what Event.Append made, which may be sent to many streams, and may not be
// changed any more.
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

// Close ends the stream, after what has been queued is written. It does not wait.
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

// Flush writes what is queued, and returns when the client's connection has taken it. It is
// for an Open that has more to send than the queue holds, and for no other goroutine.
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

// begin writes the header and says when to come back.
func (s *Stream) begin() error {
	s.begun = true
	s.control.SetReadDeadline(time.Time{}) // the server's is for requests
	s.w.WriteHeader(http.StatusOK)
	return s.write(fmt.Appendf(nil, ":\nretry: %d\n\n", spread(s.opts.Retry, 0.5, 1.5).Milliseconds()))
}

// write gives the client a time for each event. What the server allows for whole responses
// does not apply.
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
	case !time.Now().Before(deadline): // over HTTP/2 the error does not tell
		return ErrSlow
	}
	return err
}

// run writes until the stream ends, and says why: ErrClosed also at the end of its lifetime.
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

// spread returns a random part of d, from least to most times it.
func spread(d time.Duration, least, most float64) time.Duration {
	return time.Duration(float64(d) * (least + (most-least)*rand.Float64()))
}
