package eio

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// Type is a packet's type: the digit that the protocol writes in front of its data.
type Type byte

// A session's packets, in the order in which they usually occur:
//
//	server                       client
//	Open {sid, upgrades, …}  →
//	                         ⇄   Message, in both directions, text or binary
//	Ping                     →
//	                         ←   Pong, within pingTimeout
//	                         ←   Ping "probe", on the transport to upgrade to
//	Pong "probe"             →
//	Noop                     →   ends the poll that is under way on the old transport
//	                         ←   Upgrade: from here on only the new transport is used
//	Close                    ⇄
const (
	Open    Type = '0'
	Close   Type = '1'
	Ping    Type = '2'
	Pong    Type = '3'
	Message Type = '4'
	Upgrade Type = '5'
	Noop    Type = '6'
)

const (
	separator    = '\x1e' // between the packets of a polling payload
	binaryPrefix = 'b'    // in front of a binary message in a polling payload
)

// Probe is the data of the Ping and Pong that test a transport before an upgrade.
const Probe = "probe"

// ErrMalformed is returned for bytes that are not Engine.IO packets.
var ErrMalformed = errors.New("eio: malformed packet")

// Packet is one Engine.IO packet. A binary packet is always a Message.
type Packet struct {
	Type   Type
	Binary bool
	Data   []byte // aliases the decoded input, but for binary messages of a payload
}

// Decode decodes the packet of one WebSocket text message. The packet's Data
// aliases b. The error is ErrMalformed.
func Decode(b []byte) (Packet, error) {
	if len(b) == 0 || b[0] < byte(Open) || b[0] > byte(Noop) {
		return Packet{}, ErrMalformed
	}
	return Packet{Type: Type(b[0]), Data: b[1:]}, nil
}

// DecodePayload decodes the body of a polling request: packets separated by
// U+001E, binary messages in base64 behind the letter b. It calls yield for each
// packet in turn and stops at the first error, its own (ErrMalformed) or yield's.
func DecodePayload(payload []byte, yield func(Packet) error) error {
	for more := true; more; {
		var raw []byte
		raw, payload, more = bytes.Cut(payload, []byte{separator})
		p, err := decodeEncoded(raw)
		if err != nil {
			return err
		}
		if err := yield(p); err != nil {
			return err
		}
	}
	return nil
}

func decodeEncoded(b []byte) (Packet, error) {
	if len(b) == 0 || b[0] != binaryPrefix {
		return Decode(b)
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(b)-1))
	n, err := base64.StdEncoding.Decode(data, b[1:])
	if err != nil {
		return Packet{}, ErrMalformed
	}
	return Packet{Type: Message, Binary: true, Data: data[:n]}, nil
}

// AppendPayload appends p to the polling payload dst, behind a separator when
// dst already holds a packet.
func AppendPayload(dst []byte, p Packet) []byte {
	if len(dst) > 0 {
		dst = append(dst, separator)
	}
	if p.Binary {
		dst = append(dst, binaryPrefix)
		return base64.StdEncoding.AppendEncode(dst, p.Data)
	}
	dst = append(dst, byte(p.Type))
	return append(dst, p.Data...)
}
