package eio

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// On a byte stream, such as a WebTransport stream, each packet follows a header with its length:
//
//	B LLLLLLL   B: the packet is a binary message, without its type; L: the length, below 126
//	B 1111110   the length follows in 2 bytes, the most significant first
//	B 1111111   the length follows in 8 bytes, the most significant first
//
// This is the header of a WebSocket frame (RFC 6455) without its first byte.
const (
	streamBinary = 0x80
	length16     = 126
	length64     = 127
)

// ErrTooLarge means that the length of a packet is over the limit.
var ErrTooLarge = errors.New("eio: packet too large")

// AppendStreamHeader appends the header of a packet of n bytes.
func AppendStreamHeader(dst []byte, isBinary bool, n int) []byte {
	var bit byte
	if isBinary {
		bit = streamBinary
	}
	switch {
	case n < length16:
		return append(dst, bit|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, bit|length16), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, bit|length64), uint64(n))
	}
}

// StreamReader splits a byte stream into packets, which [Protocol.Decode] of V4 decodes. Other
// revisions have no streams.
type StreamReader struct {
	r    *bufio.Reader
	last int // bytes buffered in r that the last call of Next returned
}

// NewStreamReader returns a reader of r.
func NewStreamReader(r io.Reader) *StreamReader { return &StreamReader{r: bufio.NewReader(r)} }

// Next returns the next packet, which is valid until the next call. The error is io.EOF if the
// stream ends between packets, io.ErrUnexpectedEOF if it ends within one, ErrTooLarge, ErrMalformed
// if the length has a longer encoding than it needs, or the stream's own. After an error, do not
// call Next again.
func (s *StreamReader) Next(limit int64) (isBinary bool, packet []byte, err error) {
	s.r.Discard(s.last) // cannot fail: r holds that much
	s.last = 0
	first, err := s.r.ReadByte()
	if err != nil {
		return false, nil, err
	}
	n := uint64(first &^ streamBinary)
	switch n {
	case length16:
		var b [2]byte
		if err := s.readFull(b[:]); err != nil {
			return false, nil, err
		}
		if n = uint64(binary.BigEndian.Uint16(b[:])); n < length16 {
			return false, nil, ErrMalformed
		}
	case length64:
		var b [8]byte
		if err := s.readFull(b[:]); err != nil {
			return false, nil, err
		}
		if n = binary.BigEndian.Uint64(b[:]); n < 1<<16 {
			return false, nil, ErrMalformed
		}
	}
	if n > uint64(limit) {
		return false, nil, ErrTooLarge
	}
	isBinary = first&streamBinary != 0
	if size := int(n); size <= s.r.Size() {
		if packet, err = s.r.Peek(size); err == nil {
			s.last = size
		}
	} else {
		// Allocate in step with the bytes that arrive, not by the declared length.
		var b bytes.Buffer
		_, err = io.CopyN(&b, s.r, int64(n))
		packet = b.Bytes()
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return isBinary, packet, err
}

func (s *StreamReader) readFull(b []byte) error {
	_, err := io.ReadFull(s.r, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
