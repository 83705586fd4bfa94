package engine

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// A message that arrives in pieces is held until it is complete. It has to be complete within
// BodyTimeout, in which time spent in a pause does not count, and what is held of it counts for the
// limit on memory.

// incomplete is the message that a WebSocket is receiving, if it is not small.
type incomplete struct {
	t     *websocket
	held  int          // bytes, as reported to Session.Hold; owned by the goroutine that reads
	due   atomic.Int64 // when it has to be complete, since the wheel was made; 0: it is
	timer *time.Timer
}

// leastIncomplete is the size in bytes from which an incomplete message is watched.
const leastIncomplete = 4 << 10

var errIncomplete = errors.New("engine: message not complete in time")

// watchIncomplete is called after bytes were received. completed says that a message ended with them.
func (t *websocket) watchIncomplete(completed bool) {
	n := t.parser.Buffered()
	i := t.incomplete
	if i == nil {
		if n < leastIncomplete {
			return
		}
		i = &incomplete{t: t}
		t.incomplete, completed = i, true
	}
	t.s.Hold(n - i.held)
	i.held = n
	switch {
	case n == 0:
		i.due.Store(0)
		if i.timer != nil {
			i.timer.Stop()
		}
		t.incomplete = nil
	case completed:
		i.restart()
	}
}

// restart gives the message BodyTimeout from now.
func (i *incomplete) restart() {
	d := i.t.s.srv.opts.BodyTimeout
	if d <= 0 {
		return
	}
	i.due.Store(int64(i.t.s.srv.wheel.since() + d))
	if i.timer == nil {
		i.timer = time.AfterFunc(d, i.alarm)
	} else {
		i.timer.Reset(d)
	}
}

func (i *incomplete) alarm() {
	s, timeout := i.t.s, i.t.s.srv.opts.BodyTimeout
	due := time.Duration(i.due.Load())
	s.mu.Lock()
	now := s.srv.wheel.since()
	switch {
	case s.paused():
		due = now + timeout
	case s.resumed > 0:
		due = max(due, s.resumed.since()+timeout)
	}
	late := i.due.Load() > 0 && due <= now
	if late {
		i.t.closeLocked(ws.ClosePolicyViolation)
	}
	current := s.transport == i.t
	s.mu.Unlock()
	switch {
	case late && current:
		s.end(TransportError, errIncomplete)
	case !late && i.due.Load() > 0: // time was spent in a pause, or it is another message by now
		i.timer.Reset(due - now)
	}
}

// holdingReader reports to Session.Hold what was read from r. Call release when it is handled.
type holdingReader struct {
	r    io.Reader
	s    *Session
	read int // bytes
	held int // of them, as reported
}

func (r *holdingReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if r.read += n; r.read-r.held >= holdStep {
		r.s.Hold(r.read - r.held)
		r.held = r.read
		r.s.srv.memory.awaitAudit(r.s)
	}
	return n, err
}

func (r *holdingReader) release() {
	r.s.Hold(-r.held)
	r.read, r.held = 0, 0
}
