package nodewire

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/sio"
)

// sharded is the format of a namespace on the wire of createShardedAdapter: cluster messages.
type sharded struct {
	uid, nsp string
	mode     Mode
	all      string // the channel that all have subscribed to
	echoes   [2][]byte
}

func newSharded(key, uid, nsp string, mode Mode) *sharded {
	f := &sharded{uid: uid, nsp: nsp, mode: mode, all: key + "#" + nsp + "#"}
	f.echoes[0] = append(sio.AppendString([]byte(`{"uid":`), uid), ',')
	// The same as MessagePack: an object of four members, which begins with uid.
	f.echoes[1] = append([]byte("\x84\xa3uid"), 0xa0|byte(len(uid)))
	f.echoes[1] = append(f.echoes[1], uid...)
	return f
}

// encode implements format. Our own messages begin with the uid, so that their echo is known by it.
func (f *sharded) encode(m *adapter.Message, id string, wide bool) (channel string, data []byte, err error) {
	channel = f.all
	b := append(make([]byte, 0, 160+len(m.Data)), f.echoes[0]...)
	b = sio.AppendString(append(b, `"nsp":`...), f.nsp)
	k := m.Kind
	if k == adapter.Count || k == adapter.RoomSizes {
		k = adapter.Fetch
	}
	b = strconv.AppendUint(append(b, `,"type":`...), uint64(k), 10) // the numbers are the same
	b = append(b, `,"data":{`...)
	switch k {
	case adapter.Broadcast:
		b = append(append(append(b, `"packet":{"type":2,"data":`...), m.Data...), "},"...)
		if id == "" && len(m.Rooms) == 1 && !wide && f.separate(m.Rooms[0]) {
			channel = f.room(m.Rooms[0])
		}
	case adapter.ServerEvent:
		b = append(append(append(b, `"packet":`...), m.Data...), ',')
	case adapter.Join, adapter.Leave:
		b = append(appendStrings(append(b, `"rooms":`...), m.Targets), ',')
	case adapter.Disconnect:
		b = append(strconv.AppendBool(append(b, `"close":`...), m.Flags&adapter.CloseAll != 0), ',')
	}
	if k != adapter.ServerEvent {
		b = append(appendOptions(append(b, `"opts":`...), m, true), ',')
	}
	if id != "" {
		b = append(sio.AppendString(append(b, `"requestId":`...), id), ',')
	}
	b = append(bytes.TrimSuffix(b, []byte{','}), "}}"...)
	data, err = pack(b, m.Attachments)
	return channel, data, err
}

// pack returns JSON as it is, or MessagePack if there is binary data.
func pack(json []byte, attachments [][]byte) ([]byte, error) {
	if len(attachments) == 0 {
		return json, nil
	}
	return sio.AppendMsgpack(nil, json, attachments)
}

// room returns the channel of a room, if it is separate.
func (f *sharded) room(name string) string { return f.all + name + "#" }

// separate reports whether a room has a channel of its own.
func (f *sharded) separate(room string) bool {
	return f.mode == DynamicPrivate || f.mode == Dynamic && units(room) != 20 // the length of a socket's id
}

// units returns the length of a text as JavaScript has it, in UTF-16.
func units(s string) (n int) {
	n = utf8.RuneCountInString(s)
	for i := range len(s) {
		if s[i] >= 0xf0 { // begins a character of two units
			n++
		}
	}
	return n
}

// shardedLink receives for a namespace on the wire of createShardedAdapter.
type shardedLink struct {
	*link
	*sharded
}

// listenSharded connects a link to that wire.
func listenSharded(in *link) {
	c := in.cluster
	l := &shardedLink{in, newSharded(c.opts.Key, c.uid, in.namespace, c.opts.Mode)}
	l.format, l.counted = l.sharded, l.sharded.all
	l.own = l.room // uids and rooms look the same
	if l.mode != Static {
		l.interest = &interest{link: in, channel: l.separateRoom, hear: l.hear, rooms: map[string]*followed{}}
	}
	l.subscribe(l.sharded.all, false, l.hear)
	l.subscribe(l.own(c.uid), false, l.hear)
}

// separateRoom returns the channel of a room that has one.
func (l *shardedLink) separateRoom(name string) string {
	if !l.separate(name) {
		return ""
	}
	return l.room(name)
}

// hear receives a cluster message.
func (l *shardedLink) hear(_ string, data []byte) {
	for _, echo := range l.echoes {
		if bytes.HasPrefix(data, echo) {
			return
		}
	}
	e, ok := readEnvelope(data)
	if !ok || string(e.uid) == l.uid || string(e.nsp) != l.nsp {
		return
	}
	m := &adapter.Message{Kind: adapter.Kind(e.kind), Namespace: l.namespace}
	switch m.Kind {
	case adapter.Broadcast:
		m.Data, m.Attachments = e.event, e.attachments
		options(m, e.opts)
		switch {
		case e.eventType != 2 && e.eventType != 5 || e.eventID || len(m.Data) == 0 || m.Data[0] != '[':
			// no event, or for a socket of the server that sends it
		case e.requestID == nil:
			l.local.Deliver(m)
		default:
			l.deliverAck(&e, m)
		}
	case adapter.Join, adapter.Leave, adapter.Disconnect:
		if len(e.opts) == 0 {
			return
		}
		options(m, e.opts)
		m.Targets = texts(e.rooms)
		if e.close {
			m.Flags |= adapter.CloseAll
		}
		l.local.Change(m)
	case adapter.Fetch:
		options(m, e.opts)
		l.fetched(&e, l.local.Fetch(m.Selection))
	case adapter.ServerEvent:
		l.serverEvent(&e, m)
	case adapter.Sockets, adapter.ServerAnswer, adapter.ClientCount, adapter.ClientAnswer:
		l.answered(&e)
	}
}
