package nodewire

import (
	"strings"

	"github.com/parley-go/parley/adapter"
)

// classic is the format of a namespace on the wire of createAdapter.
type classic struct {
	uid, nsp                     string
	broadcast, request, response string // channels
	echo                         []byte // begins our own broadcasts
}

func newClassic(key, uid, nsp string) *classic {
	return &classic{
		uid: uid, nsp: nsp,
		broadcast: key + "#" + nsp + "#",
		request:   key + "-request#" + nsp + "#",
		response:  key + "-response#" + nsp + "#",
		echo:      appendEcho(nil, uid),
	}
}

// encode implements format.
func (f *classic) encode(m *adapter.Message, id string, wide bool) (channel string, data []byte, err error) {
	switch {
	case m.Kind != adapter.Broadcast || id != "":
		channel = f.request
		data, err = f.encodeRequest(m, id)
	case len(m.Rooms) == 1 && !wide:
		channel = f.room(m.Rooms[0])
		data, err = f.encodeBroadcast(m)
	default:
		channel = f.broadcast
		data, err = f.encodeBroadcast(m)
	}
	return channel, data, err
}

// room returns the channel for broadcasts to a room.
func (f *classic) room(name string) string { return f.broadcast + name + "#" }

// classicLink receives for a namespace on the wire of createAdapter.
type classicLink struct {
	*link
	*classic
}

// listenClassic connects a link to that wire.
func listenClassic(in *link) {
	c := in.cluster
	l := &classicLink{in, newClassic(c.opts.Key, c.uid, in.namespace)}
	l.format, l.counted = l.classic, l.request
	l.own = func(uid string) string { return l.response + uid + "#" }
	if c.opts.Interest == Rooms {
		l.interest = &interest{link: in, channel: l.room, hear: l.hear, rooms: map[string]*followed{}}
		l.subscribe(l.broadcast, false, l.hear)
	} else {
		l.subscribe(escape(l.broadcast)+"*", true, l.hear)
	}
	l.subscribe(l.request, false, func(_ string, data []byte) { l.requested(data) })
	l.subscribe(l.response, false, func(_ string, data []byte) { l.answered(data) })
	l.subscribe(l.own(c.uid), false, func(_ string, data []byte) { l.answered(data) })
}

// escape returns a pattern that matches just the name.
func escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(name)
}
