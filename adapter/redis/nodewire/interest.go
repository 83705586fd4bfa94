package nodewire

import (
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
)

// interest subscribes to the channels of the rooms that have members here.
//
// It looks at what is, not at what happened: whenever a room may have changed, it asks the namespace whether
// the room has members. So no order of events can leave it wrong.
type interest struct {
	link *link
	// channel returns the channel of a room, or "" if the room has none.
	channel func(room string) string
	hear    func(channel string, data []byte)

	mu     sync.Mutex
	rooms  map[string]*followed
	closed bool
}

// followed is a room that is subscribed to.
type followed struct {
	subscription adapter.Listening
	idle         *time.Timer // runs from when the room was empty; nil: it does not
}

func (i *interest) touch(room string) <-chan struct{} {
	channel := i.channel(room)
	if channel == "" {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	f := i.rooms[room]
	switch {
	case i.closed:
		return nil
	case i.link.local.Has(room):
		if f == nil {
			f = &followed{subscription: i.link.cluster.conn.Subscribe(channel, false, i.hear)}
			i.rooms[room] = f
		}
		return i.link.awaited(f.subscription)
	case f != nil && f.idle == nil:
		f.idle = time.AfterFunc(i.link.cluster.opts.Linger, func() { i.expire(room) })
	}
	return nil
}

// expire ends the subscription of a room that has no members any more.
func (i *interest) expire(room string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f := i.rooms[room]
	switch {
	case f == nil:
	case i.link.local.Has(room):
		f.idle = nil
	default:
		f.subscription.Close()
		delete(i.rooms, room)
	}
}

func (i *interest) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for _, f := range i.rooms {
		f.subscription.Close()
		if f.idle != nil {
			f.idle.Stop()
		}
	}
	clear(i.rooms)
}
