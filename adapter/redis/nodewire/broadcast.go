package nodewire

import (
	"bytes"

	"github.com/tinylib/msgp/msgp"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/sio"
)

// appendEcho appends the beginning of a broadcast of the server with this uid, of less than 32 bytes.
func appendEcho(dst []byte, uid string) []byte {
	return append(append(dst, 0x93, 0xa0|byte(len(uid))), uid...)
}

// encodeBroadcast returns a broadcast as it is published. It writes MessagePack itself: this is the one
// message that has to be cheap.
func (f *classic) encodeBroadcast(m *adapter.Message) ([]byte, error) {
	size := 96 + len(f.nsp) + len(m.Data)
	for _, room := range m.Rooms {
		size += len(room)
	}
	b := append(make([]byte, 0, size), f.echo...)
	b = msgp.AppendMapHeader(b, 3)
	b = msgp.AppendInt(msgp.AppendString(b, "type"), 2)
	b, err := sio.AppendMsgpack(msgp.AppendString(b, "data"), m.Data, m.Attachments)
	if err != nil {
		return nil, err
	}
	b = msgp.AppendString(msgp.AppendString(b, "nsp"), f.nsp)
	b = msgp.AppendMapHeader(b, 3)
	b = packStrings(msgp.AppendString(b, "rooms"), m.Rooms)
	b = packStrings(msgp.AppendString(b, "except"), m.Except)
	b = msgp.AppendString(b, "flags")
	volatile, plain := m.Flags&adapter.Volatile != 0, m.Flags&adapter.Uncompressed != 0
	b = msgp.AppendMapHeader(b, count(volatile)+count(plain))
	if volatile {
		b = msgp.AppendBool(msgp.AppendString(b, "volatile"), true)
	}
	if plain {
		b = msgp.AppendBool(msgp.AppendString(b, "compress"), false)
	}
	return b, nil
}

func count(flag bool) uint32 {
	if flag {
		return 1
	}
	return 0
}

func packStrings(b []byte, all []string) []byte {
	b = msgp.AppendArrayHeader(b, uint32(len(all)))
	for _, s := range all {
		b = msgp.AppendString(b, s)
	}
	return b
}

// packet is an event on the wire.
type packet struct {
	kind        int    // 2: an event; 5: one with binary data
	hasID       bool   // a server sends it to one of its own sockets, and awaits an acknowledgement
	namespace   []byte // "/" if it is missing
	data        []byte
	attachments [][]byte
}

// accepts reports whether an event is for sockets of this namespace, wherever they are.
func (l *link) accepts(p *packet) bool {
	return (p.kind == 2 || p.kind == 5) && !p.hasID && string(p.namespace) == l.namespace && len(p.data) > 0 && p.data[0] == '['
}

// hear receives a broadcast.
func (l *classicLink) hear(channel string, data []byte) {
	if bytes.HasPrefix(data, l.echo) {
		return
	}
	if room := channel[len(l.broadcast):]; len(room) > 0 && !l.local.Has(room[:len(room)-1]) {
		return
	}
	m := &adapter.Message{Kind: adapter.Broadcast, Namespace: l.namespace}
	r := sio.NewMsgpackReader(data, limits)
	if r.Array() < 3 {
		return
	}
	r.Name() // the sender
	p := packet{namespace: []byte("/")}
	for range r.Object() {
		switch name := r.Name(); string(name) {
		case "data":
			p.data, p.attachments = r.Value(make([]byte, 0, len(data)+len(data)/8))
		case "type":
			p.kind = r.Small()
		case "nsp":
			p.namespace = r.Name()
		case "id":
			p.hasID = true
			r.Skip()
		default:
			r.Skip()
		}
	}
	for range r.Object() {
		switch name := r.Name(); string(name) {
		case "rooms":
			m.Rooms = r.Texts()
		case "except":
			m.Except = r.Texts()
		case "flags":
			unpackFlags(&r, m)
		default:
			r.Skip()
		}
	}
	if !r.OK() || !l.accepts(&p) {
		return
	}
	m.Data, m.Attachments = p.data, p.attachments
	l.local.Deliver(m)
}

func unpackFlags(r *sio.MsgpackReader, m *adapter.Message) {
	for range r.Object() {
		name := string(r.Name())
		is, isBool := r.Bool()
		switch {
		case name == "volatile" && is:
			m.Flags |= adapter.Volatile
		case name == "compress" && isBool && !is:
			m.Flags |= adapter.Uncompressed
		}
	}
}
