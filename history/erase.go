package history

import (
	"context"
	"slices"
)

// EraseUser erases a user, as [Eraser] says. Subscriptions of rooms that are gone end: a subscriber
// with a method Lost, as [Paced] has it, is told [ErrNotFound]. The tombstones in other rooms are
// passed on. So it is on the other nodes, at once if the bus works, else with their next audit. If the store is no Eraser, the error is [ErrNotSupported].
func (l *Log) EraseUser(ctx context.Context, userID string) (Erased, error) {
	return l.erase(func(e Eraser) (Erased, error) { return e.EraseUser(ctx, userID) })
}

// EraseRoom erases a room with its notes, as [Eraser] says; see EraseUser.
func (l *Log) EraseRoom(ctx context.Context, room string) (Erased, error) {
	return l.erase(func(e Eraser) (Erased, error) { return e.EraseRoom(ctx, room) })
}

// erase passes on what was erased. After an error, a part may have been.
func (l *Log) erase(f func(Eraser) (Erased, error)) (erased Erased, err error) {
	eraser, ok := l.store.(Eraser)
	if !ok {
		return Erased{}, ErrNotSupported
	}
	if !l.workers.begin() {
		return Erased{}, ErrClosed
	}
	defer l.workers.end()
	erased, err = f(eraser)
	for _, room := range erased.Rooms {
		for _, room := range []string{room, NotesRoom(room)} {
			if t := l.tail(room); t != nil {
				l.end(t)
			}
			if l.bus != nil {
				l.bus.Publish(&Message{RoomID: room})
			}
		}
	}
	for i := range erased.Changed {
		l.passOn(&erased.Changed[i])
	}
	l.changed()
	return erased, err
}

// end ends all subscriptions of a room that is gone. Whoever opens it again gets another tail.
func (l *Log) end(t *tail) {
	l.mu.Lock()
	l.forgetLocked(t)
	l.mu.Unlock()
	t.close() // nobody joins any more
	t.mu.Lock()
	subs := slices.Clone(t.subs)
	t.mu.Unlock()
	for _, s := range subs {
		s.lose(ErrNotFound)
	}
}

// lose ends the subscription because what follows cannot be read, and tells the subscriber.
func (s *Subscription) lose(err error) {
	s.mu.Lock() // after a Deliver, or the page, that has begun
	told := s.end() && s.opened
	s.mu.Unlock()
	if to, ok := s.to.(interface{ Lost(room string, err error) }); ok && told {
		to.Lost(s.tail.room, err)
	}
}
