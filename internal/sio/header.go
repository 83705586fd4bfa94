package sio

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// The text format is
//
//	<type>[<attachments>-][/<namespace>,][<id>][<JSON>]
//
// with no space between the parts. The comma may be missing if the namespace ends the packet. A "?"
// and what follows are part of the namespace here. In revision 4 they are the query of a Connect;
// in revision 5 they are part of the name.

// AppendHeader appends everything in a text packet before its JSON. It writes the number of
// attachments for BinaryEvent and BinaryAck only. A negative id means none.
func AppendHeader(dst []byte, t Type, attachments int, namespace string, id int64) []byte {
	dst = append(dst, '0'+byte(t))
	if t == BinaryEvent || t == BinaryAck {
		dst = strconv.AppendInt(dst, int64(attachments), 10)
		dst = append(dst, '-')
	}
	if namespace != "/" && namespace != "" {
		dst = append(dst, namespace...)
		dst = append(dst, ',')
	}
	if id >= 0 {
		dst = strconv.AppendInt(dst, id, 10)
	}
	return dst
}

// header is the front of a text packet. typ is still the type on the wire.
type header struct {
	typ         Type
	attachments int
	namespace   []byte // empty for "/"
	id          int64
}

// readHeader splits b into header and JSON, which alias it.
func readHeader(b []byte, maxAttachments int) (h header, data []byte, err error) {
	h.id = -1
	if len(b) == 0 {
		return h, nil, errEmpty
	}
	if b[0] < '0' || b[0] > '0'+byte(BinaryAck) {
		return h, nil, errType
	}
	h.typ, b = Type(b[0]-'0'), b[1:]

	if h.typ == BinaryEvent || h.typ == BinaryAck {
		n, rest, ok := readDigits(b, int64(maxAttachments))
		if !ok {
			return h, nil, errTooMany
		}
		// The count must be present, not zero, and followed by a dash.
		if n == 0 || len(rest) == 0 || rest[0] != '-' {
			return h, nil, errCount
		}
		h.attachments, b = int(n), rest[1:]
	}

	if len(b) > 0 && b[0] == '/' {
		h.namespace = b
		if i := bytes.IndexByte(b, ','); i >= 0 {
			h.namespace, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if !utf8.Valid(h.namespace) {
			return h, nil, errNamespace
		}
		if len(h.namespace) == 1 {
			h.namespace = nil
		}
	}

	if len(b) > 0 && isDigit(b[0]) {
		id, rest, ok := readDigits(b, MaxID)
		if !ok {
			return h, nil, errID
		}
		h.id, b = id, rest
	}
	return h, b, nil
}

// readDigits reads a decimal number of any length. ok is false if it exceeds limit, which must be
// below 2^59.
func readDigits(b []byte, limit int64) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		if n = n*10 + int64(b[i]-'0'); n > limit {
			return 0, nil, false
		}
	}
	return n, b[i:], true
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func startsNumber(c byte) bool { return c == '-' || isDigit(c) }
