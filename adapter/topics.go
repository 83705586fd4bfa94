package adapter

import (
	"net/url"
	"strings"

	"github.com/parley-go/parley/adapter/internal/recent"
)

// topics are those of a namespace.
type topics struct {
	all    string // for all sockets
	prefix string // of those of rooms
	few    bool   // rooms have no topics of their own

	// joined are rooms that sockets of other servers have just joined because of us: these servers may not
	// listen to the rooms yet.
	joined   *recent.Names
	careless bool // about joined: for tests of the tests
}

func topicsOf(bus Bus, namespace string) topics {
	path := url.PathEscape(strings.TrimPrefix(namespace, "/"))
	return topics{all: "a/" + path, prefix: "r/" + path + "/", few: !bus.Caps().Interest, joined: &recent.Names{}}
}

// topic returns the topic for what is sent to a room.
func (t *topics) topic(room string) string {
	switch tag := TagIn(room); {
	case tag != "":
		return "s/" + tag
	case t.few:
		return t.all
	}
	return t.prefix + room
}

// destination returns the topic of a message for which nobody awaits answers, and whether fences must
// precede it. It notes who joins what.
func (t *topics) destination(m *Message) (topic string, fenced bool) {
	switch m.Kind {
	case Join:
		t.joined.Add(m.Targets)
		return t.all, true
	case Leave, Disconnect:
		return t.all, true
	}
	if m.Kind == Broadcast && len(m.Rooms) == 1 && (t.careless || !t.joined.HasOnly(m.Rooms)) {
		return t.topic(m.Rooms[0]), t.joined.Forgotten(m.Rooms)
	}
	return t.all, false
}
