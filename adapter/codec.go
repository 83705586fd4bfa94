package adapter

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// The envelope of Native:
//
//	B1 version kind flags node[8] number namespace request timeout rooms except targets data attachments
//
// Numbers are unsigned varints (encoding/binary). A string is its length and its bytes; a list is the
// number of its elements and these. timeout is in milliseconds.
const (
	magic   = 0xB1
	version = 1
)

var errFormat = errors.New("adapter: not a message of this version of the protocol")

// encode returns m in the envelope.
func (m *Message) encode() []byte {
	size := 12 + 5*binary.MaxVarintLen64 + len(m.Namespace) + len(m.Data)
	for _, l := range [...][]string{m.Rooms, m.Except, m.Targets} {
		for _, s := range l {
			size += 3 + len(s)
		}
	}
	for _, a := range m.Attachments {
		size += 5 + len(a)
	}
	b := append(make([]byte, 0, size), magic, version, byte(m.Kind), byte(m.Flags))
	b = append(b, m.Node[:]...)
	b = binary.AppendUvarint(b, m.Number)
	b = appendBytes(b, m.Namespace)
	b = binary.AppendUvarint(b, m.Request)
	b = binary.AppendUvarint(b, uint64(max(0, m.Timeout.Milliseconds())))
	b = appendList(b, m.Rooms)
	b = appendList(b, m.Except)
	b = appendList(b, m.Targets)
	b = appendBytes(b, m.Data)
	return appendList(b, m.Attachments)
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendList[T string | []byte](b []byte, l []T) []byte {
	b = binary.AppendUvarint(b, uint64(len(l)))
	for _, s := range l {
		b = appendBytes(b, s)
	}
	return b
}

// sender returns who sent an envelope, without decoding it.
func sender(b []byte) (id NodeID, ok bool) {
	if len(b) < 12 || b[0] != magic {
		return id, false
	}
	return NodeID(b[4:12]), true
}

// decode reads an envelope. The message shares memory with b.
func decode(b []byte) (m *Message, err error) {
	if _, ok := sender(b); !ok || b[1] != version {
		return nil, errFormat
	}
	r := reader{rest: b[12:]}
	m = &Message{Kind: Kind(b[2]), Flags: Flags(b[3]), Node: NodeID(b[4:12])}
	m.Number = r.number()
	m.Namespace = string(r.bytes())
	m.Request = r.number()
	m.Timeout = time.Duration(min(r.number(), math.MaxInt32)) * time.Millisecond
	m.Rooms = list(&r, asString)
	m.Except = list(&r, asString)
	m.Targets = list(&r, asString)
	m.Data = r.bytes()
	m.Attachments = list(&r, asBytes)
	if r.bad || len(r.rest) > 0 {
		return nil, errFormat
	}
	return m, nil
}

func asString(b []byte) string { return string(b) }
func asBytes(b []byte) []byte  { return b }

// reader reads what the other servers sent. They are trusted, but not lengths.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func list[T any](r *reader, as func([]byte) T) []T {
	n := r.number()
	if n > uint64(len(r.rest)) { // each element has a byte at least
		r.bad, r.rest = true, nil
	}
	if n == 0 || r.bad {
		return nil
	}
	l := make([]T, 0, n)
	for range n {
		l = append(l, as(r.bytes()))
	}
	return l
}
