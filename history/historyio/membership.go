package historyio

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
)

// memberships are the rooms of a socket. A recovered socket takes them over from its predecessor. A
// nil value is empty.
type memberships struct {
	mu    sync.Mutex
	owner *parley.Socket // nil while the client is away
	rooms map[string]*membership
}

// membership is a socket's membership of a room. It is a history.Paced. A nil value is a
// membership that has ended.
type membership struct {
	rooms        *Rooms
	socket       *parley.Socket
	subscription *history.Subscription

	mu      sync.Mutex // held while a message is sent to the socket
	stopped bool
	epoch   string // of sent
	sent    int64  // number of the last message sent to the socket
}

func (ms *memberships) get(room string) *membership {
	if ms == nil {
		return nil
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.rooms[room]
}

// put reports false, and does nothing, if s has disconnected.
func (ms *memberships) put(s *parley.Socket, room string, m *membership) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.owner == s {
		ms.rooms[room] = m
	}
	return ms.owner == s
}

func (ms *memberships) remove(room string) *membership {
	m := ms.get(room)
	if m != nil {
		ms.mu.Lock()
		defer ms.mu.Unlock()
		delete(ms.rooms, room)
	}
	return m
}

// drop removes m, and reports whether m was the membership of its room and its client is there.
func (ms *memberships) drop(room string, m *membership) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	current := ms.rooms[room] == m && ms.owner == m.socket
	if current {
		delete(ms.rooms, room)
	}
	return current
}

// pause ends all memberships but keeps them, so that they can be resumed.
func (ms *memberships) pause() {
	for _, m := range ms.resume(nil) {
		m.end()
	}
}

// resume makes s the owner and returns a copy of the memberships.
func (ms *memberships) resume(s *parley.Socket) map[string]*membership {
	if ms == nil {
		return nil
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.owner = s
	return maps.Clone(ms.rooms)
}

// open opens the room and passes its page to ready.
func (m *membership) open(ctx context.Context, room string, o history.OpenOptions, ready func(history.Opened)) error {
	subscription, err := m.rooms.log.Open(ctx, room, o, m, func(opened history.Opened) {
		m.epoch, m.sent = opened.Epoch, opened.LastSeq
		ready(opened)
	})
	m.subscription = subscription
	return err
}

// Deliver implements history.Subscriber.
func (m *membership) Deliver(live *history.Live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
	case errors.Is(m.send(live), parley.ErrDisconnected):
		m.stopped = true // before this message, so that a recovered socket starts with it
	default:
		m.sent = live.Message.Number()
	}
}

// Behind implements history.Paced.
func (m *membership) Behind() bool { return m.socket.Behind() }

// WhenDrained implements history.Paced.
func (m *membership) WhenDrained(f func()) { m.socket.WhenDrained(f) }

// Lost implements history.Paced.
func (m *membership) Lost(room string, err error) {
	m.stop()
	if m.rooms.of.Get(m.socket).drop(room, m) {
		m.rooms.opts.Lost(m.socket, room, err)
	}
}

// kind is that of a message that is encoded for all sockets of a namespace.
type kind struct {
	rooms *Rooms
	nsp   *parley.Namespace
}

func (m *membership) send(live *history.Live) error {
	r := m.rooms
	if !r.opts.EncodeOnce {
		return m.socket.Emit(r.opts.Event, live.Encoded(r, r.opts.Argument))
	}
	nsp := m.socket.Namespace()
	encoded := live.Encoded(kind{r, nsp}, func(message *history.Message) any {
		e, err := nsp.Encode(r.opts.Event, r.opts.Argument(message))
		if err != nil {
			return err
		}
		return e
	})
	if err, ok := encoded.(error); ok {
		return err
	}
	return m.socket.Send(encoded.(*parley.Encoded))
}

// stop stops sending. After it returns, no message is on its way to the socket.
func (m *membership) stop() {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.stopped = true
	}
}

// end stops sending and closes the subscription.
func (m *membership) end() {
	if m != nil {
		m.stop()
		m.subscription.Close()
	}
}
