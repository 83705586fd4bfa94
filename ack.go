package parley

import (
	"context"
	"errors"

	"github.com/parley-go/parley/internal/sio"
)

// EmitWithAck sends an event to the client and waits for its acknowledgement. If ctx has no
// deadline, it waits as long as the client is connected. The error is ErrTimeout if ctx's deadline
// passes, ctx.Err() if ctx is canceled, ErrDisconnected if the client is gone, ErrConnecting if the
// client is still joining, or ErrTooManyAcks.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Reply, error) {
	if err := checkEvent(event); err != nil {
		return Reply{}, err
	}
	id := s.nsp.ackIDs.Add(1)
	e, err := s.nsp.encode(sio.Event, id, event, args)
	if err != nil {
		return Reply{}, err
	}
	type answer struct {
		payload payload
		err     error
	}
	answers := make(chan answer, 1)
	if err := s.expect(id, func(p payload, err error) { answers <- answer{p, err} }); err != nil {
		return Reply{}, err
	}
	s.answer() // the caller may be a handler of OnConnection, and the client could not acknowledge yet
	if !s.send(e, false) {
		s.forget(id)
		return Reply{}, ErrDisconnected
	}
	select {
	case a := <-answers:
		return newReply(a.payload), a.err
	case <-ctx.Done():
		s.forget(id)
		return Reply{}, ackError(ctx)
	}
}

// ackError returns the error of an acknowledgement that had not arrived when ctx ended.
func ackError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTimeout
	}
	return ctx.Err()
}

// expect registers f for the acknowledgement with this id. It calls f once, with the
// acknowledgement or with an error such as ErrDisconnected. f runs on the receiving goroutine and
// must not block. If expect returns an error, it has called f with that error.
func (s *Socket) expect(id int64, f func(payload, error)) error {
	s.mu.Lock()
	var err error
	switch limit := s.nsp.srv.opts.MaxPendingAcks; {
	case s.state == connecting:
		err = ErrConnecting
	case s.state == disconnected:
		err = ErrDisconnected
	case limit > 0 && len(s.acks) >= limit:
		err = ErrTooManyAcks
	default:
		if s.acks == nil {
			s.acks = map[int64]func(payload, error){}
		}
		s.acks[id] = f
	}
	s.mu.Unlock()
	if err != nil {
		f(payload{}, err)
		return err
	}
	s.conn.pressure(0, 1)
	return nil
}

// take removes and returns the callback for this acknowledgement id, or returns nil.
func (s *Socket) take(id int64) func(payload, error) {
	s.mu.Lock()
	f := s.acks[id]
	delete(s.acks, id)
	if len(s.acks) == 0 {
		s.acks = nil
	}
	s.mu.Unlock()
	if f != nil {
		s.conn.pressure(0, -1)
	}
	return f
}

// resolve delivers an acknowledgement. It ignores one that nobody waits for.
func (s *Socket) resolve(id int64, p payload, err error) {
	if f := s.take(id); f != nil {
		f(p, err)
	}
}

// forget stops waiting for an acknowledgement.
func (s *Socket) forget(id int64) { s.take(id) }
