package history

import (
	"runtime"
	"time"
)

// OpenRooms returns the number of rooms that have a tail.
func OpenRooms(l *Log) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.tails)
}

// Queued returns the number of messages in a room's tail, and their bytes.
func Queued(l *Log, room string) (messages, bytes int) {
	t := l.tail(room)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.queue {
		bytes += m.Message.Size()
	}
	for _, m := range t.held {
		bytes += m.Message.Size()
	}
	if bytes != t.queueBytes+t.heldBytes {
		panic("the bytes of a tail are not those of its messages")
	}
	return len(t.queue) + len(t.held), bytes
}

// OfferAndWait offers m to an open room and waits until its subscribers have received it.
func OfferAndWait(l *Log, m Message) {
	t := l.tail(m.RoomID)
	t.offer(m)
	for {
		t.mu.Lock()
		busy := t.delivering
		t.mu.Unlock()
		if !busy {
			return
		}
		runtime.Gosched()
	}
}

// SetClock replaces the store's clock.
func (s *Memory) SetClock(now func() time.Time) { s.now = now }
