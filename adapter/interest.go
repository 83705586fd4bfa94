package adapter

import (
	"sync"
	"time"
)

// interest listens to the topics of the rooms that have members here.
//
// It looks at what is, not at what happened: whenever a room may have changed, it asks the namespace
// whether the room has members. So no order of events can leave it wrong.
type interest struct {
	link *link

	mu     sync.Mutex
	topics map[string]*topic
	idle   []expiry // in the order in which they end
}

// topic is one that is listened to. Usually it has one room. The sockets of a server share one: their
// ids are rooms, which sockets of other servers may join.
type topic struct {
	listening Listening
	rooms     map[string]bool // true: it is in interest.idle
}

type expiry struct {
	topic, room string
	at          time.Time
}

// touch makes the server listen to the topic of a room if the room has members. The result is closed
// when it does; nil means that nothing has to be awaited.
func (i *interest) touch(room string) <-chan struct{} {
	n := i.link.native
	name := i.link.topic(room)
	if name == "s/"+n.self.Tag || name == i.link.all {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	t := i.topics[name]
	if !i.link.local.Has(room) {
		if t != nil {
			if idle, known := t.rooms[room]; known && !idle {
				t.rooms[room] = true
				i.idle = append(i.idle, expiry{name, room, time.Now().Add(n.opts.Linger)})
			}
		}
		return nil
	}
	if t == nil {
		t = &topic{listening: n.bus.Listen(name, n.receive), rooms: make(map[string]bool, 1)}
		i.topics[name] = t
	}
	if _, known := t.rooms[room]; !known {
		t.rooms[room] = false
	}
	return n.awaited(t.listening)
}

// expire stops listening to topics whose rooms have had no members for long enough.
func (i *interest) expire(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.idle) > 0 && now.After(i.idle[0].at) {
		e := i.idle[0]
		i.idle = i.idle[1:]
		t := i.topics[e.topic]
		if i.link.local.Has(e.room) {
			t.rooms[e.room] = false
			continue
		}
		delete(t.rooms, e.room)
		if len(t.rooms) == 0 {
			t.listening.Close()
			delete(i.topics, e.topic)
		}
	}
	if len(i.idle) == 0 {
		i.idle = nil
	}
}

func (i *interest) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range i.topics {
		t.listening.Close()
	}
	clear(i.topics)
	i.idle = nil
}
