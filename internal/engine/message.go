package engine

import (
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

// Headroom is the space, in bytes, that NewMessage wants in front of a payload, for the
// WebSocket frame's header and the packet's type.
const Headroom = ws.MaxHeader + 1

// Message is one packet, rendered once for all the sessions that it is sent to: its
// WebSocket frame stands in memory as it goes out. It is immutable and safe for
// concurrent use.
type Message struct {
	kind   eio.Type
	binary bool
	plain  bool   // never compressed
	frame  []byte // WebSocket frame: header, type digit (text), data
	data   []byte // the tail of frame

	deflateOnce sync.Once
	deflated    []byte // compressed frame, where no context is kept between messages

	forms atomic.Pointer[otherForms] // of a binary message
}

// otherForms are what a binary message is on a WebSocket of revision 3, and on those of
// clients that have no binary.
type otherForms struct {
	typed, typedBase64, base64 onceMessage
}

type onceMessage struct {
	once sync.Once
	m    Message
}

// NewMessage makes a message of the payload that follows the first Headroom bytes of
// buf. It keeps buf and writes the rest of the frame into the space in front.
func NewMessage(buf []byte, binary bool) *Message {
	m := new(Message)
	m.Init(buf, binary)
	return m
}

// Init makes m, which must be zero, what NewMessage returns.
func (m *Message) Init(buf []byte, binary bool) { m.init(eio.Message, buf, binary) }

// Uncompressed has m sent as it is, even where compression was negotiated. It may be
// called only before m is sent.
func (m *Message) Uncompressed() *Message {
	m.plain = true
	return m
}

func (m *Message) init(kind eio.Type, buf []byte, binary bool) {
	m.kind, m.binary, m.data = kind, binary, buf[Headroom:]
	op, start := ws.OpBinary, Headroom
	if !binary {
		op = ws.OpText
		start--
		buf[start] = byte(kind)
	}
	var header [ws.MaxHeader]byte
	h := ws.AppendHeader(header[:0], op, true, false, len(buf)-start)
	start -= len(h)
	copy(buf[start:], h)
	m.frame = buf[start:]
}

func control(kind eio.Type, data string) *Message {
	m := new(Message)
	m.init(kind, append(make([]byte, Headroom, Headroom+len(data)), data...), false)
	return m
}

// What the protocol sends by itself.
var (
	pingMessage      = control(eio.Ping, "")
	pongMessage      = control(eio.Pong, "")
	noopMessage      = control(eio.Noop, "")
	closeMessage     = control(eio.Close, "")
	probePongMessage = control(eio.Pong, eio.Probe)
)

// overhead is what a small message takes besides its frame, in bytes: itself, what its maker
// keeps with it, slack, and its place in a queue. Measured in conformance/load.
const overhead = 200

// Data returns m's payload, which stands in memory as NewMessage got it. It may be changed only
// before m is sent, and keeps its length.
func (m *Message) Data() []byte { return m.data }

// Size is what m counts for in an outbox, in bytes: the memory that it takes if nobody else
// has it in theirs.
func (m *Message) Size() int { return len(m.frame) + overhead }

// sharedDeflated returns m's frame as made by d, which all connections with the usual
// parameters share and which keeps no context: a broadcast is compressed once.
func (m *Message) sharedDeflated(d *ws.Deflater) []byte {
	m.deflateOnce.Do(func() { m.deflated = m.deflate(d) })
	return m.deflated
}

// deflate returns m's frame compressed by d, or as it is if that is no gain.
func (m *Message) deflate(d *ws.Deflater) []byte {
	op, payload := ws.OpBinary, m.data
	if !m.binary {
		op, payload = ws.OpText, m.frame[len(m.frame)-len(m.data)-1:] // with the type digit
	}
	frame, err := d.AppendFrame(nil, op, payload)
	if err != nil || len(frame) >= len(m.frame) {
		return m.frame
	}
	return frame
}

// as returns what is sent over a WebSocket of the protocol, to clients without binary as base64
// in text. It is made once for all.
func (m *Message) as(p eio.Protocol, base64 bool) *Message {
	if !m.binary || !base64 && !p.WritesType() {
		return m
	}
	forms := m.forms.Load()
	if forms == nil {
		m.forms.CompareAndSwap(nil, new(otherForms))
		forms = m.forms.Load()
	}
	form := &forms.typed
	switch {
	case base64 && p.WritesType():
		form = &forms.typedBase64
	case base64:
		form = &forms.base64
	}
	form.once.Do(func() {
		form.m.plain = m.plain
		if !base64 {
			buf := eio.AppendBinary(make([]byte, Headroom, Headroom+1+len(m.data)), m.data)
			form.m.init(m.kind, buf, true)
			return
		}
		// Its first letter stands where the digit of a text message does.
		buf := p.AppendBase64(make([]byte, Headroom-1, Headroom+8+len(m.data)*4/3), m.data)
		form.m.init(eio.Type(buf[Headroom-1]), buf, false)
	})
	return &form.m
}

func (m *Message) packet() eio.Packet {
	return eio.Packet{Type: m.kind, Binary: m.binary, Data: m.data}
}
