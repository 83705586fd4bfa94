package engine

import (
	"errors"
	"io"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// A message that arrives in pieces is held until it is complete. It has to be complete within
// BodyTimeout, not counting the time in which the session is paused. What is held of it counts for
// the limit on memory.

// incomplete is the message that a WebSocket is receiving, if it is not small. The session's lock
// guards it.
type incomplete struct {
	t       *websocket
	held    int           // bytes, as reported
	left    time.Duration // for the rest of the message, when timer was set or stopped
	timer   timer
	due     time.Duration // when timer runs out, since the wheel was made
	running bool          // timer is set; it is not while the session is paused
}

// leastIncomplete is the size in bytes from which an incomplete message is watched.
const leastIncomplete = 4 << 10

var errIncomplete = errors.New("engine: message not complete in time")

// watchIncomplete is called after bytes were received. completed says that a message ended with them.
func (t *websocket) watchIncomplete(completed bool) {
	n, i := t.parser.Buffered(), t.incomplete
	if i == nil && n < leastIncomplete {
		return
	}
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if i == nil {
		i = &incomplete{t: t}
		t.incomplete, completed = i, true
	}
	s.holdLocked(n - i.held)
	i.held = n
	switch {
	case n == 0:
		i.pauseLocked(true)
		t.incomplete = nil
	case completed: // this is another message
		i.pauseLocked(true)
		i.left = s.srv.opts.BodyTimeout
		i.pauseLocked(s.transport == t && s.paused())
	}
}

// pauseLocked stops the time, or lets it go on. The end of a pause gives the message no new time: a
// client may cause pauses, by spending too much.
func (i *incomplete) pauseLocked(paused bool) {
	w := i.t.s.srv.wheel
	switch {
	case i.t.s.srv.opts.BodyTimeout <= 0 || paused != i.running:
	case paused:
		i.left = max(0, i.due-w.since())
		i.running = false
		w.clear(&i.timer)
	default:
		i.due = w.since() + i.left
		i.running = true
		w.set(&i.timer, i, i.due)
	}
}

// alarm implements alarmed: the message took too long.
func (i *incomplete) alarm(*timer) {
	t, s := i.t, i.t.s
	s.mu.Lock()
	late := i.running && s.srv.wheel.fired(&i.timer)
	if late {
		t.closeLocked(ws.ClosePolicyViolation)
	}
	current := s.transport == t
	s.mu.Unlock()
	if late && current {
		s.end(TransportError, errIncomplete)
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
