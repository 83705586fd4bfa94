package eio

import "encoding/base64"

// Protocol is a revision of Engine.IO. A session keeps the same one from beginning to end. The
// revisions have the same packets in the same order. They differ in which side sends the pings, and
// in how they encode binary messages and payloads.
type Protocol uint8

// Clients of Socket.IO 3 and 4 speak V4. Clients of Socket.IO 1 and 2 speak V3.
const (
	V3 Protocol = 3
	V4 Protocol = 4
)

// ClientPings reports whether the client sends the pings and the server the pongs.
func (p Protocol) ClientPings() bool { return p == V3 }

// V3 puts the type before a binary message, as a byte and not as a digit. A client without binary
// support receives base64 in text, and may send it.
const (
	typeByte     = byte(Message - '0')
	base64Prefix = "b4" // of V3: the letter and the digit of the type; V4 has only the letter
)

// Decode decodes the packet of one WebSocket message. The packet's Data aliases b unless b is
// base64. The error is ErrMalformed.
func (p Protocol) Decode(binary bool, b []byte) (Packet, error) {
	switch {
	case binary && p == V4:
		return Packet{Type: Message, Binary: true, Data: b}, nil
	case binary:
		if len(b) == 0 || b[0] != typeByte {
			return Packet{}, ErrMalformed
		}
		return Packet{Type: Message, Binary: true, Data: b[1:]}, nil
	case p == V3 && len(b) > 0 && b[0] == binaryPrefix:
		return decodeTypedBase64(b)
	case len(b) > 0 && b[0] == binaryPrefix:
		return decodeBase64(b[1:])
	}
	return decodeText(b)
}

// WritesType reports whether binary WebSocket messages carry their type. If so, encode them with
// AppendBinary.
func (p Protocol) WritesType() bool { return p == V3 }

// AppendBinary appends a binary message and its type.
func AppendBinary(dst, data []byte) []byte { return append(append(dst, typeByte), data...) }

// AppendBase64 appends a binary message as text.
func (p Protocol) AppendBase64(dst, data []byte) []byte {
	if p == V3 {
		dst = append(dst, base64Prefix...)
	} else {
		dst = append(dst, binaryPrefix)
	}
	return base64.StdEncoding.AppendEncode(dst, data)
}

func decodeTypedBase64(b []byte) (Packet, error) {
	if len(b) < len(base64Prefix) || string(b[:len(base64Prefix)]) != base64Prefix {
		return Packet{}, ErrMalformed
	}
	return decodeBase64(b[len(base64Prefix):])
}

// Encoding returns the encoding of payloads. binary says whether the payload may be binary rather
// than text. ok is false if the protocol has no such payloads.
func (p Protocol) Encoding(binary bool) (e Encoding, ok bool) {
	switch {
	case p == V4:
		return Separated, !binary
	case binary:
		return Framed, true
	}
	return Counted, true
}
