package eio

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// Encoding is the way in which a polling payload holds its packets.
type Encoding uint8

const (
	// Separated is the text encoding of revision 4. U+001E separates the packets. A binary
	// message is the letter b and its data in base64.
	Separated Encoding = iota
	// Counted is the text encoding of revision 3: <length>:<packet> for each packet. The length
	// counts UTF-16 units, as JavaScript's strings do. A binary message is "b4" and its data in
	// base64.
	Counted
	// Framed is the binary encoding of revision 3. Each packet is a byte, 0 for text or 1 for
	// binary; the packet's length in bytes, one byte of value 0 to 9 per decimal digit; a byte 255;
	// and the packet as a WebSocket message carries it.
	Framed
)

const (
	separator    = '\x1e'
	binaryPrefix = 'b'
	frameEnd     = 255 // ends the length of a frame
	maxDigits    = 10  // of a length
)

// Binary reports whether payloads are binary rather than text.
func (e Encoding) Binary() bool { return e == Framed }

// Append appends p to the payload dst.
func (e Encoding) Append(dst []byte, p Packet) []byte {
	switch e {
	case Counted:
		return appendCounted(dst, p)
	case Framed:
		return appendFramed(dst, p)
	}
	if len(dst) > 0 {
		dst = append(dst, separator)
	}
	if p.Binary {
		return V4.AppendBase64(dst, p.Data)
	}
	return appendText(dst, p)
}

func appendText(dst []byte, p Packet) []byte { return append(append(dst, byte(p.Type)), p.Data...) }

func appendCounted(dst []byte, p Packet) []byte {
	if p.Binary {
		n := len(base64Prefix) + base64.StdEncoding.EncodedLen(len(p.Data))
		return V3.AppendBase64(append(strconv.AppendInt(dst, int64(n), 10), ':'), p.Data)
	}
	return appendText(append(strconv.AppendInt(dst, int64(1+units(p.Data)), 10), ':'), p)
}

func appendFramed(dst []byte, p Packet) []byte {
	kind := byte(0)
	if p.Binary {
		kind = 1
	}
	dst = append(dst, kind)
	start := len(dst)
	dst = strconv.AppendInt(dst, int64(1+len(p.Data)), 10)
	for i := start; i < len(dst); i++ {
		dst[i] -= '0'
	}
	dst = append(dst, frameEnd)
	if p.Binary {
		return AppendBinary(dst, p.Data)
	}
	return appendText(dst, p)
}

// Decode calls yield for each packet of a payload in turn. It stops at the first error and returns
// it: ErrMalformed, or the error of yield. A packet's Data aliases payload unless it was base64.
// Decode does not check that a text payload is UTF-8; if it is not, its packets may not be either.
func (e Encoding) Decode(payload []byte, yield func(Packet) error) error {
	for more := true; more; {
		var p Packet
		var some bool
		var err error
		switch e {
		case Counted:
			p, payload, some, err = cutCounted(payload)
			more = len(payload) > 0
		case Framed:
			p, payload, err = cutFramed(payload)
			some, more = true, len(payload) > 0
		default:
			var raw []byte
			raw, payload, more = bytes.Cut(payload, []byte{separator})
			some = true
			if len(raw) > 0 && raw[0] == binaryPrefix {
				p, err = decodeBase64(raw[1:])
			} else {
				p, err = decodeText(raw)
			}
		}
		if err != nil {
			return err
		}
		if !some {
			continue
		}
		if err := yield(p); err != nil {
			return err
		}
	}
	return nil
}

// cutCounted cuts the first packet off a payload. some is false if the packet's length is 0: that
// is how encoders write a payload without packets.
func cutCounted(b []byte) (p Packet, rest []byte, some bool, err error) {
	n, b, ok := cutLength(b, '0', ':')
	if !ok {
		return p, nil, false, ErrMalformed
	}
	size, ok := prefix(b, n)
	if !ok {
		return p, nil, false, ErrMalformed
	}
	if n == 0 {
		return p, b, false, nil
	}
	raw, rest := b[:size], b[size:]
	if raw[0] == binaryPrefix {
		p, err = decodeTypedBase64(raw)
	} else {
		p, err = decodeText(raw)
	}
	return p, rest, true, err
}

func cutFramed(b []byte) (p Packet, rest []byte, err error) {
	if len(b) == 0 || b[0] > 1 {
		return p, nil, ErrMalformed
	}
	binary := b[0] == 1
	n, b, ok := cutLength(b[1:], 0, frameEnd)
	// Whoever receives a text payload checks all of it for UTF-8. Nobody has checked this one.
	if !ok || n > len(b) || !binary && !utf8.Valid(b[:n]) {
		return p, nil, ErrMalformed
	}
	p, err = V3.Decode(binary, b[:n])
	return p, b[n:], err
}

// cutLength cuts a decimal number and the byte end off b. zero is the byte that stands for digit 0.
func cutLength(b []byte, zero, end byte) (n int, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c == end:
			return n, b[i+1:], i > 0
		case c-zero > 9 || i == maxDigits:
			return 0, nil, false
		}
		n = n*10 + int(c-zero)
	}
	return 0, nil, false
}

// units returns how many UTF-16 units b has.
func units(b []byte) int {
	n := 0
	for len(b) > 0 {
		size, width := next(b)
		n, b = n+width, b[size:]
	}
	return n
}

// prefix returns how many bytes of b make up n UTF-16 units. ok is false if b is shorter, or if
// the units end within a character.
func prefix(b []byte, n int) (size int, ok bool) {
	for n > 0 && size < len(b) {
		bytes, width := next(b[size:])
		size, n = size+bytes, n-width
	}
	return size, n == 0
}

// next returns the size of b's first character in bytes and in UTF-16 units. A byte that is not
// valid UTF-8 counts as one character.
func next(b []byte) (size, width int) {
	if b[0] < utf8.RuneSelf {
		return 1, 1
	}
	r, size := utf8.DecodeRune(b)
	if r > 0xffff {
		return size, 2
	}
	return size, 1
}
