package sio

import (
	"errors"

	"github.com/parley-go/parley/internal/jsonscan"
)

// AppendMsgpack appends a JSON value as MessagePack. Each placeholder in it becomes the binary data
// of its attachment. The wires between servers consist of such values.
func AppendMsgpack(dst, data []byte, attachments [][]byte) ([]byte, error) {
	if validate(data, depthCeiling) != nil {
		return dst, errors.New("parley: encode MessagePack: data is not valid JSON")
	}
	if len(attachments) > 0 && checkPlaceholders(data, len(attachments)) != nil {
		return dst, errAttachments
	}
	w := msgpackWriter{b: data, counts: countElements(data), attachments: attachments}
	dst, _ = w.value(dst, jsonscan.SkipSpace(data, 0))
	return dst, nil
}

// FromMsgpack converts a MessagePack value to JSON, in which placeholders stand for binary data. It
// does not keep b.
func FromMsgpack(b []byte, limits *Limits) (data []byte, attachments [][]byte, err error) {
	r := msgpackReader{b: b, maxDepth: limits.depth(), maxAttachments: limits.attachments(), room: limits.attachmentBytes()}
	data, err = r.value(make([]byte, 0, len(b)+len(b)/4+16), 0)
	switch {
	case err != nil:
		return nil, nil, err
	case len(r.b) > 0:
		return nil, nil, errMsgpack
	case r.attachments != nil:
		err = checkPlaceholders(data, len(r.attachments))
	}
	return data, r.attachments, err
}

// MsgpackReader reads a MessagePack message piece by piece. After a mistake, all its methods return
// nothing, and OK returns false. What it returns may alias the message.
type MsgpackReader struct {
	r   msgpackReader
	bad bool
}

// NewMsgpackReader returns a reader of b.
func NewMsgpackReader(b []byte, limits *Limits) MsgpackReader {
	return MsgpackReader{r: msgpackReader{b: b, maxDepth: limits.depth(), maxAttachments: limits.attachments(), room: limits.attachmentBytes()}}
}

func (m *MsgpackReader) fail() { m.bad, m.r.b = true, nil }

// Array reads the beginning of an array and returns the number of its elements.
func (m *MsgpackReader) Array() int {
	lead, ok := m.r.uint(1)
	n := lead & 0x0f
	switch {
	case lead == 0xdc || lead == 0xdd:
		var present bool
		n, present = m.r.uint(2 << (lead - 0xdc))
		ok = ok && present
	case lead < 0x90 || lead > 0x9f:
		ok = false
	}
	if !ok || n > uint64(len(m.r.b)) {
		m.fail()
		return 0
	}
	return int(n)
}

// Object reads the beginning of an object and returns the number of its members. Each is a Name and a
// value.
func (m *MsgpackReader) Object() int {
	n, err := m.r.mapHeader()
	if err != nil || n > uint64(len(m.r.b))/2 {
		m.fail()
		return 0
	}
	return int(n)
}

// Name reads a string.
func (m *MsgpackReader) Name() []byte {
	name, err := m.r.string()
	if err != nil {
		m.fail()
	}
	return name
}

// Small reads an integer from 0 to 127, and returns -1 for any other value.
func (m *MsgpackReader) Small() int {
	if len(m.r.b) > 0 && m.r.b[0] <= 0x7f {
		n := int(m.r.b[0])
		m.r.b = m.r.b[1:]
		return n
	}
	m.Skip()
	return -1
}

// Bool reads a boolean, and returns false for any other value.
func (m *MsgpackReader) Bool() (is, isBool bool) {
	if len(m.r.b) > 0 && (m.r.b[0] == 0xc2 || m.r.b[0] == 0xc3) {
		is = m.r.b[0] == 0xc3
		m.r.b = m.r.b[1:]
		return is, true
	}
	m.Skip()
	return false, false
}

// Texts reads an array of strings and numbers, as Text does. Null is none.
func (m *MsgpackReader) Texts() (all []string) {
	if len(m.r.b) > 0 && m.r.b[0] == 0xc0 {
		m.Skip()
		return nil
	}
	n := m.Array()
	if n == 0 {
		return nil
	}
	all = make([]string, 0, n)
	for range n {
		if len(m.r.b) > 0 && (m.r.b[0] >= 0xa0 && m.r.b[0] <= 0xbf || m.r.b[0] >= 0xd9 && m.r.b[0] <= 0xdb) {
			all = append(all, string(m.Name()))
			continue
		}
		value, _ := m.Value(nil)
		all = append(all, string(Text(value)))
	}
	return all
}

// Value reads a value and appends it as JSON. It returns the binary data in it, for which placeholders
// stand.
func (m *MsgpackReader) Value(dst []byte) (data []byte, attachments [][]byte) {
	if m.bad {
		return dst, nil
	}
	start := len(dst)
	m.r.attachments = nil
	data, err := m.r.value(dst, 0)
	if attachments = m.r.attachments; err == nil && attachments != nil {
		err = checkPlaceholders(data[start:], len(attachments))
	}
	if err != nil {
		m.fail()
		return dst, nil
	}
	return data, attachments
}

// Skip skips a value.
func (m *MsgpackReader) Skip() {
	if m.bad || m.r.skip() != nil {
		m.fail()
	}
}

// Rest returns how many bytes have not been read.
func (m *MsgpackReader) Rest() int { return len(m.r.b) }

// OK reports whether everything so far was MessagePack of the kind that was asked for.
func (m *MsgpackReader) OK() bool { return !m.bad }
