package ws

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
)

// Side tells which end of a connection we are. Clients mask what they send; servers do not
// (RFC 6455, 5.1).
type Side byte

const (
	Server Side = iota
	Client
)

// An Opcode tells the meaning of a frame's payload (RFC 6455, 5.2).
type Opcode byte

// The frame, RFC 6455 5.2:
//
//	 0               1               2 ...           up to 14
//	+-+-+-+-+-------+-+-------------+---------------+------------------+
//	|F|R|R|R| op-   |M| length 7    | length 16, 64 | masking key 32   |
//	|I|S|S|S| code  |A|             | if length 7   | if M             |
//	|N|V|V|V|       |S| 126: 16 bit | is 126 or 127 |                  |
//	| |1|2|3|       |K| 127: 64 bit |               | then the payload |
//	+-+-+-+-+-------+-+-------------+---------------+------------------+
//
// A message is a text or binary frame and the continuation frames after it, up to the one with FIN.
// Control frames (close, ping, pong) are never fragmented, and may come between a message's frames.
// RSV1 on a message's first frame means that the message is compressed (RFC 7692, 6).
const (
	OpContinuation Opcode = 0
	OpText         Opcode = 1
	OpBinary       Opcode = 2
	OpClose        Opcode = 8
	OpPing         Opcode = 9
	OpPong         Opcode = 10
)

const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsv2Bit = 0x20
	rsv3Bit = 0x10
	maskBit = 0x80

	length16 = 126
	length64 = 127
)

const (
	// MaxHeader is the size of the largest header that AppendHeader writes.
	MaxHeader = 10

	// MaxControlPayload limits a control frame's payload (RFC 6455, 5.5).
	MaxControlPayload = 125

	maskSize = 4
)

func (op Opcode) isControl() bool { return op&8 != 0 }

// AppendHeader appends the header of an unmasked frame, as servers send it, for a payload of n bytes.
func AppendHeader(dst []byte, op Opcode, fin, rsv1 bool, n int) []byte {
	return appendHeader(dst, firstByte(op, fin, rsv1), 0, n)
}

func firstByte(op Opcode, fin, rsv1 bool) byte {
	b := byte(op)
	if fin {
		b |= finBit
	}
	if rsv1 {
		b |= rsv1Bit
	}
	return b
}

// appendHeader encodes n in the fewest bytes, as RFC 6455 5.2 demands.
func appendHeader(dst []byte, first, mask byte, n int) []byte {
	switch {
	case n < length16:
		return append(dst, first, mask|byte(n))
	case n <= math.MaxUint16:
		dst = append(dst, first, mask|length16)
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, first, mask|length64)
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
}

// AppendFrame appends a server's frame with FIN: a control frame or a whole message. It copies
// payload.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = AppendHeader(dst, op, true, false, len(payload))
	return append(dst, payload...)
}

// AppendMaskedFrame appends a client's frame with FIN: a control frame or a whole message. It copies
// payload to dst and masks it there.
func AppendMaskedFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = appendHeader(dst, firstByte(op, true, false), maskBit, len(payload))
	dst, key := appendMaskingKey(dst)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], key)
	return dst
}

// appendFrame appends a frame with FIN as the given side sends it.
func appendFrame(dst []byte, side Side, op Opcode, payload []byte) []byte {
	if side == Client {
		return AppendMaskedFrame(dst, op, payload)
	}
	return AppendFrame(dst, op, payload)
}

// appendMaskingKey appends a new masking key. Keys come from the system's cryptographic random
// generator, because nobody who chooses a payload may be able to predict its key (RFC 6455, 10.3).
func appendMaskingKey(dst []byte) ([]byte, uint32) {
	n := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	rand.Read(dst[n:])
	return dst, binary.LittleEndian.Uint32(dst[n:])
}

// mask applies key to b in place, the lowest byte first (RFC 6455, 5.3). It returns the key rotated
// for the byte after b.
func mask(b []byte, key uint32) uint32 {
	key64 := uint64(key)<<32 | uint64(key)
	for len(b) >= 32 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^key64)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^key64)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^key64)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^key64)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^key64)
		b = b[8:]
	}
	if len(b) >= 4 {
		binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)^key)
		b = b[4:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}
