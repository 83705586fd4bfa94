package historyio

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
)

// memberships are the rooms that a socket is in. A recovered socket has those of the one before.
// A nil one is empty.
type memberships struct {
	mu    sync.Mutex
	owner *parley.Socket // nil while the client is away
	rooms map[string]*membership
}

// membership is a socket's place in a room. It is a history.Subscriber. A nil one has ended.
type membership struct {
	rooms        *Rooms
	socket       *parley.Socket
	subscription *history.Subscription

	mu      sync.Mutex // held while the socket is sent a message
	stopped bool
	epoch   string // of sent
	sent    int64  // the number of the last message that the socket was sent
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

// pause ends all memberships. They stay to be resumed.
func (ms *memberships) pause() {
	for _, m := range ms.resume(nil) {
		m.end()
	}
}

// resume makes s the owner, and returns the memberships as they are.
func (ms *memberships) resume(s *parley.Socket) map[string]*membership {
	if ms == nil {
		return nil
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.owner = s
	return maps.Clone(ms.rooms)
}

// open opens the room and hands its page to ready.
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
		m.stopped = true // before the message: a recovered socket begins with it
	default:
		m.sent = live.Message.Number()
	}
}

func (m *membership) send(live *history.Live) error {
	r := m.rooms
	if !r.opts.EncodeOnce {
		return m.socket.Emit(r.opts.Event, live.Encoded(r, r.opts.Argument))
	}
	encoded := live.Encoded(r, func(message *history.Message) any {
		e, err := r.nsp.Encode(r.opts.Event, r.opts.Argument(message))
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

// stop stops the sending. When it returns no message is on its way to the socket any more.
func (m *membership) stop() {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.stopped = true
	}
}

// end stops the membership for good.
func (m *membership) end() {
	if m != nil {
		m.stop()
		m.subscription.Close()
	}
}
