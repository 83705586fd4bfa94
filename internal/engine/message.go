package engine

import (
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

// Headroom is the space, in bytes, that NewMessage needs before a payload for the WebSocket frame's
// header and the packet's type.
const Headroom = ws.MaxHeader + 1

// Message is one packet, rendered once for all sessions that receive it. In memory it is the
// complete WebSocket frame. It is immutable and safe for concurrent use.
type Message struct {
	kind   eio.Type
	binary bool
	plain  bool   // never compressed
	frame  []byte // WebSocket frame: header, type digit (text), data
	data   []byte // the tail of frame

	deflateOnce sync.Once
	deflated    []byte // compressed frame, for connections without context takeover

	forms atomic.Pointer[otherForms] // of a binary message
}

// otherForms are the forms of a binary message for WebSockets of revision 3, and for clients that
// cannot receive binary.
type otherForms struct {
	typed, typedBase64, base64 onceMessage
}

type onceMessage struct {
	once sync.Once
	m    Message
}

// NewMessage makes a message of buf. The payload begins after the first Headroom bytes. NewMessage
// keeps buf and writes the frame's header into the space before the payload.
func NewMessage(buf []byte, binary bool) *Message {
	m := new(Message)
	m.Init(buf, binary)
	return m
}

// Init initializes m, which must be zero, as NewMessage does.
func (m *Message) Init(buf []byte, binary bool) { m.init(eio.Message, buf, binary) }

// Uncompressed turns compression off for m, even where it was negotiated. Call it only before m is
// sent.
func (m *Message) Uncompressed() *Message {
	m.plain = true
	return m
}

// IsUncompressed reports whether Uncompressed has been called.
func (m *Message) IsUncompressed() bool { return m.plain }

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

// Packets that the protocol itself sends.
var (
	pingMessage      = control(eio.Ping, "")
	pongMessage      = control(eio.Pong, "")
	noopMessage      = control(eio.Noop, "")
	closeMessage     = control(eio.Close, "")
	probePongMessage = control(eio.Pong, eio.Probe)
)

// overhead is the memory, in bytes, of a small message besides its frame: the Message, what its
// maker keeps with it, slack, and its place in a queue. It was measured in conformance/load.
const overhead = 200

// Data returns m's payload, in the memory that NewMessage got. You may change its bytes, not its
// length, and only before m is sent.
func (m *Message) Data() []byte { return m.data }

// Size is the number of bytes that m counts for in an outbox: the memory that m takes if no other
// outbox holds it.
func (m *Message) Size() int { return len(m.frame) + overhead }

// sharedDeflated returns m's frame as compressed by d. All connections with the usual parameters
// share d, which keeps no context. So a broadcast is compressed once.
func (m *Message) sharedDeflated(d *ws.Deflater) []byte {
	m.deflateOnce.Do(func() { m.deflated = m.deflate(d) })
	return m.deflated
}

// deflate returns m's frame compressed by d, or the original frame if compression saves nothing.
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

// as returns the form of m for a WebSocket of the protocol p. Clients without binary get base64 in
// text. Each form is made once.
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
		// The first letter of the base64 form takes the place of a text message's type digit.
		buf := p.AppendBase64(make([]byte, Headroom-1, Headroom+8+len(m.data)*4/3), m.data)
		form.m.init(eio.Type(buf[Headroom-1]), buf, false)
	})
	return &form.m
}

func (m *Message) packet() eio.Packet {
	return eio.Packet{Type: m.kind, Binary: m.binary, Data: m.data}
}
