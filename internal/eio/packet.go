package eio

import (
	"encoding/base64"
	"errors"
)

// Type is a packet's type: the digit that the protocol writes before the packet's data.
type Type byte

// The packets of a session, in their usual order:
//
//	server                       client
//	Open {sid, upgrades, …}  →
//	                         ⇄   Message, in both directions, text or binary
//	Ping                     →
//	                         ←   Pong, within pingTimeout (in revision 3 the client pings)
//	                         ←   Ping "probe", on the transport to upgrade to
//	Pong "probe"             →
//	Noop                     →   ends the pending poll on the old transport
//	                         ←   Upgrade: from here on, both sides use only the new transport
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

// Probe is the data of the Ping and Pong that test a transport before an upgrade.
const Probe = "probe"

// ErrMalformed is returned for bytes that are not Engine.IO packets.
var ErrMalformed = errors.New("eio: malformed packet")

// Packet is one Engine.IO packet. A binary packet is always a Message.
type Packet struct {
	Type   Type
	Binary bool
	Data   []byte // aliases the decoded input, unless the input is base64
}

// decodeText decodes a packet in text form: the digit of its type, then its data.
func decodeText(b []byte) (Packet, error) {
	if len(b) == 0 || b[0] < byte(Open) || b[0] > byte(Noop) {
		return Packet{}, ErrMalformed
	}
	return Packet{Type: Type(b[0]), Data: b[1:]}, nil
}

// decodeBase64 decodes a binary message in text form, without its prefix.
func decodeBase64(b []byte) (Packet, error) {
	data := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(data, b)
	if err != nil {
		return Packet{}, ErrMalformed
	}
	return Packet{Type: Message, Binary: true, Data: data[:n]}, nil
}
