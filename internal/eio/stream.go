package eio

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// On a byte stream, as WebTransport has them, the length of a packet stands in front of it:
//
//	B LLLLLLL   B: the packet is a binary message, without its type; L: the length, below 126
//	B 1111110   the length follows, in 2 bytes, the most significant first
//	B 1111111   the length follows, in 8 bytes
//
// It is the header of a WebSocket frame, RFC 6455, without its first byte.
const (
	streamBinary = 0x80
	length16     = 126
	length64     = 127
)

// ErrTooLarge is the error of a packet whose length is over the limit.
var ErrTooLarge = errors.New("eio: packet too large")

// AppendStreamHeader appends what stands in front of a packet of n bytes.
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

// StreamReader takes a byte stream apart. Protocol.Decode decodes what it returns, which no
// other revision but V4 has.
type StreamReader struct {
	r    *bufio.Reader
	last int // how much of what r holds was returned by Next
}

// NewStreamReader returns a reader of r.
func NewStreamReader(r io.Reader) *StreamReader { return &StreamReader{r: bufio.NewReader(r)} }

// Next returns the next packet, which is valid until Next is called again. The error is
// io.EOF at the end of the stream, io.ErrUnexpectedEOF within a packet, ErrTooLarge,
// ErrMalformed if its length could have been written shorter, or the stream's. None is to be
// followed by another call.
func (s *StreamReader) Next(limit int64) (isBinary bool, packet []byte, err error) {
	s.r.Discard(s.last) // it is there
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
		// What is allocated follows what has arrived, not what was declared.
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
