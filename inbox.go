package parley

import (
	"bytes"
	"errors"
	"runtime/debug"

	"github.com/parley-go/parley/internal/sio"
)

// A socket's inbox holds the events that wait for its handlers. They run one at a time, in order,
// on a goroutine that exists only while the inbox is not empty.

// task is an event to handle, or something else that must run in order with the events.
type task struct {
	packet *Packet
	run    func()
}

// received puts an event into the inbox. It copies p's data.
func (s *Socket) received(p sio.Packet) {
	data := p.Data
	if p.Attachments == nil {
		data = bytes.Clone(data)
	}
	packet := &Packet{socket: s, id: p.ID, payload: payload{data: data, attachments: p.Attachments, event: true}}
	s.push(task{packet: packet})
}

// size is what a task counts for in Options.MaxInboxBytes.
func (t *task) size() int {
	if t.packet == nil {
		return 0
	}
	const overhead = 200 // a small event's packet and its place in the queue
	size := overhead + len(t.packet.payload.data)
	for _, a := range t.packet.payload.attachments {
		size += len(a)
	}
	return size
}

// push adds a task to the inbox and makes sure that it runs. A full inbox stops reading from this
// client only.
func (s *Socket) push(t task) {
	limit := s.nsp.srv.opts.MaxInbox
	s.mu.Lock()
	if s.state != connected && t.packet != nil { // it is gone or not connected yet
		s.mu.Unlock()
		return
	}
	s.inbox.Push(t)
	start := !s.working
	s.working = true
	filled := limit > 0 && !s.full && s.inbox.Len() >= limit
	s.full = s.full || filled
	flooded := limit > 0 && s.inbox.Len() >= limit*inboxFlood
	s.mu.Unlock()
	if filled {
		s.conn.pressure(1, 0)
	}
	s.conn.weigh(t.size(), flooded)
	if start {
		s.nsp.srv.work.add(1)
		s.nsp.srv.workers.run(s)
	}
}

// While the client owes an acknowledgement, reading cannot stop: a handler may be waiting for it.
// Then these limits apply.
const (
	inboxFlood      = 64 // times MaxInbox
	inboxFloodBytes = 4  // times MaxInboxBytes
)

// pressure adjusts the counts of full inboxes and pending acknowledgements, and stops or resumes
// reading accordingly.
func (c *connection) pressure(full, awaited int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full += full
	c.awaited += awaited
	c.pauseLocked()
}

// pauseLocked stops or resumes reading. While a handler may be waiting for an acknowledgement,
// reading continues; otherwise both sides would wait for ever.
func (c *connection) pauseLocked() {
	if pause := (c.full > 0 || c.crowded.Load()) && c.awaited == 0; pause != c.paused {
		c.paused = pause
		if pause {
			c.session.Pause()
		} else {
			c.session.Resume()
		}
	}
}

// weigh adjusts the number of bytes in the inboxes. Over the limit, reading stops until the
// handlers have worked it down to half the limit. While reading cannot stop, weigh ends the
// connection of a client that floods one inbox with events or all of them with bytes.
func (c *connection) weigh(bytes int, flooded bool) {
	limit := int64(c.srv.opts.MaxInboxBytes)
	turns := func(n int64) bool {
		crowded := c.crowded.Load()
		return limit > 0 && (n > limit && !crowded || n <= limit/2 && crowded)
	}
	n := c.inboxed.Add(int64(bytes))
	c.session.Hold(steps(n) - steps(n-int64(bytes)))
	if turns(n) {
		c.mu.Lock()
		// After each change it looks again: whoever changed inboxed meanwhile did not see the change.
		for turns(c.inboxed.Load()) {
			c.crowded.Store(!c.crowded.Load())
		}
		c.pauseLocked()
		c.mu.Unlock()
	}
	if flooded || limit > 0 && n > limit*inboxFloodBytes && bytes > 0 {
		c.mu.Lock()
		owes := c.awaited > 0
		c.mu.Unlock()
		if owes {
			c.srv.stats.flooded.Add(1)
			c.reject("too many events while an acknowledgement is awaited")
		}
	}
}

// steps rounds down what the connection reports to the engine.
func steps(n int64) int { return int(n &^ (16<<10 - 1)) }

// work runs the inbox's tasks in order until none is left.
func (s *Socket) work() {
	for {
		s.mu.Lock()
		if s.inbox.Len() == 0 {
			s.working = false
			s.mu.Unlock()
			s.nsp.srv.work.add(-1)
			return
		}
		t := s.inbox.Pop()
		drained := s.full && s.inbox.Len() <= s.nsp.srv.opts.MaxInbox/2
		if drained {
			s.full = false
		}
		unwanted := s.dismissed && t.packet != nil
		s.mu.Unlock()
		if drained {
			s.conn.pressure(-1, 0)
		}
		s.conn.weigh(-t.size(), false)
		switch {
		case unwanted:
		case t.packet != nil:
			s.handle(t.packet)
		default:
			t.run()
		}
	}
}

// handle runs an event's middleware and handlers.
func (s *Socket) handle(p *Packet) {
	tables := s.tables()
	for _, t := range tables {
		for _, h := range t.any {
			s.run(h.call, p)
		}
	}
	for _, t := range tables {
		for _, h := range t.middleware {
			if !s.run(h.call, p) {
				return
			}
		}
	}
	handled := false
	name := sio.EventName(p.payload.data)
	for _, t := range tables {
		for _, h := range t.events[string(name)] {
			handled = true
			s.run(h.call, p)
		}
	}
	if handled {
		return
	}
	unhandled := tables[1].unhandled
	if len(unhandled) == 0 {
		unhandled = tables[0].unhandled
	}
	for _, h := range unhandled {
		s.run(h.call, p)
	}
}

// run calls h and reports whether it succeeded.
func (s *Socket) run(h Handler, p *Packet) (ok bool) {
	err := s.call(h, p)
	if err != nil {
		s.report(p.Name(), p, err)
	}
	return err == nil
}

// call calls h and turns a panic into an error.
func (s *Socket) call(h Handler, p *Packet) (err error) {
	defer recoverPanic(&err)
	return h(p)
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer recoverPanic(&err)
	return f()
}

func recoverPanic(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// EventError is the error that OnError handlers receive: an event's handler failed.
type EventError struct {
	Event    string // "connection" for a panic in OnConnection
	Answered bool   // the client received the error, or another answer, as acknowledgement
	Err      error
}

func (e *EventError) Error() string { return "parley: handle " + e.Event + ": " + e.Err.Error() }
func (e *EventError) Unwrap() error { return e.Err }

// Client returns the part of the error that the client may see.
func (e *EventError) Client() *Error { return clientError(e.Err) }

// report sends err as the acknowledgement, calls the OnError handlers, and logs it.
func (s *Socket) report(event string, p *Packet, err error) {
	answered := p != nil && p.id >= 0
	if p != nil && p.WantsAck() {
		ackErr := guard(func() error { return p.Ack(refusal(err)) })
		if ackErr != nil && !errors.Is(ackErr, ErrDisconnected) && !errors.Is(ackErr, ErrAcknowledged) {
			p.Ack(refusal(nil)) // its Data cannot be encoded
		}
	}
	s.nsp.srv.logHandlerError(s, event, err)
	e := &EventError{Event: event, Answered: answered, Err: err}
	for _, t := range s.tables() {
		for _, f := range t.errors {
			if err := guard(func() error { f.call(s, e); return nil }); err != nil {
				s.nsp.srv.logHandlerError(s, "error", err)
			}
		}
	}
}
