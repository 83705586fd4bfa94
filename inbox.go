package parley

import (
	"bytes"
	"errors"
	"runtime/debug"

	"github.com/parley-go/parley/internal/sio"
)

// A socket's inbox holds the events that wait for its handlers. They run one at a time, in
// order, on a goroutine that exists only while there is something in it.

// task is an event to handle, or something else that has its place among the events.
type task struct {
	packet *Packet
	run    func()
}

// received puts an event into the inbox. p's data is copied.
func (s *Socket) received(p sio.Packet) {
	data := p.Data
	if p.Attachments == nil {
		data = bytes.Clone(data)
	}
	packet := &Packet{socket: s, id: p.ID, payload: payload{data: data, attachments: p.Attachments, event: true}}
	s.push(task{packet: packet})
}

// push adds a task to the inbox and has it run. A full inbox stops the reading from this
// client, and from no other.
func (s *Socket) push(t task) {
	s.mu.Lock()
	if s.state == disconnected && t.packet != nil {
		s.mu.Unlock()
		return
	}
	s.inbox.Push(t)
	start := !s.working
	s.working = true
	limit := s.nsp.srv.opts.MaxInbox
	filled := limit > 0 && !s.full && s.inbox.Len() >= limit
	s.full = s.full || filled
	flooded := limit > 0 && s.inbox.Len() >= limit*inboxFlood && len(s.acks) > 0
	s.mu.Unlock()
	if filled {
		s.conn.pressure(1, 0)
	}
	if flooded {
		s.conn.reject("too many events while an acknowledgement is awaited")
	}
	if start {
		s.nsp.srv.work.add(1)
		s.nsp.srv.workers.run(s)
	}
}

// inboxFlood is how many times MaxInbox a client may send while reading cannot be
// stopped, because it owes an acknowledgement.
const inboxFlood = 64

// work runs the inbox's tasks in order until there are none.
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
		s.mu.Unlock()
		if drained {
			s.conn.pressure(-1, 0)
		}
		if t.packet != nil {
			s.handle(t.packet)
		} else {
			t.run()
		}
	}
}

// handle runs an event's middleware and handlers.
func (s *Socket) handle(p *Packet) {
	tables := [...]*table{s.nsp.load(), s.handlers.Load().load()}
	for _, t := range tables {
		for _, h := range t.middleware {
			if !s.run(h, p) {
				return
			}
		}
	}
	handled := false
	for _, t := range tables {
		for _, h := range t.any {
			handled = true
			s.run(h, p)
		}
	}
	name := sio.EventName(p.payload.data)
	for _, t := range tables {
		for _, h := range t.events[string(name)] {
			handled = true
			s.run(h, p)
		}
	}
	if h := tables[0].unhandled; h != nil && !handled {
		s.run(h, p)
	}
}

// run calls h and reports whether it did not fail.
func (s *Socket) run(h Handler, p *Packet) (ok bool) {
	err := s.call(h, p)
	if err != nil {
		s.report(p.Name(), p, err)
	}
	return err == nil
}

// call calls h; a panic becomes an error.
func (s *Socket) call(h Handler, p *Packet) (err error) {
	defer recoverPanic(&err)
	return h(p)
}

// guard calls f; a panic becomes an error.
func guard(f func() error) (err error) {
	defer recoverPanic(&err)
	return f()
}

func recoverPanic(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// EventError is what OnError is told: the failure of an event's handler.
type EventError struct {
	Event    string // "connection" for a panic in OnConnection
	Answered bool   // the client got the error, or another answer, as acknowledgement
	Err      error
}

func (e *EventError) Error() string { return "parley: handle " + e.Event + ": " + e.Err.Error() }
func (e *EventError) Unwrap() error { return e.Err }

// Client returns what the client may see of the error.
func (e *EventError) Client() *Error { return clientError(e.Err) }

// report answers an error, tells those who listen, and logs it.
func (s *Socket) report(event string, p *Packet, err error) {
	answered := p != nil && p.id >= 0
	if p != nil && p.WantsAck() {
		ackErr := guard(func() error { return p.Ack(clientError(err)) })
		if ackErr != nil && !errors.Is(ackErr, ErrDisconnected) && !errors.Is(ackErr, ErrAcknowledged) {
			p.Ack(&Error{Code: CodeInternal, Message: "internal error"}) // its Data cannot be encoded
		}
	}
	s.nsp.srv.logHandlerError(s, event, err)
	e := &EventError{Event: event, Answered: answered, Err: err}
	for _, t := range [...]*table{s.nsp.load(), s.handlers.Load().load()} {
		for _, f := range t.errors {
			if err := guard(func() error { f(s, e); return nil }); err != nil {
				s.nsp.srv.logHandlerError(s, "error", err)
			}
		}
	}
}
