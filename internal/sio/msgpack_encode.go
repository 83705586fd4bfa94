package sio

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/parley-go/parley/internal/jsonscan"
)

func (msgpackParser) Append(dst []byte, p *Packet) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, err
	}
	data := p.Data
	if len(data) == 0 && p.Type == Event {
		return dst, errors.New("parley: encode packet: event without data")
	}
	if len(data) == 0 && p.Type == Ack {
		data = []byte("[]") // the reference refuses a packet without data
	}
	if len(data) > 0 && validate(data, depthCeiling) != nil {
		return dst, errors.New("parley: encode packet: data is not valid JSON")
	}
	if len(p.Attachments) > 0 && checkPlaceholders(data, len(p.Attachments)) != nil {
		return dst, errAttachments
	}

	members := uint32(2)
	if len(data) > 0 {
		members++
	}
	if p.ID >= 0 {
		members++
	}
	dst = msgp.AppendMapHeader(dst, members)
	dst = msgp.AppendString(dst, "type")
	dst = msgp.AppendUint64(dst, uint64(p.Type))
	dst = msgp.AppendString(dst, "nsp")
	if p.Namespace == "" {
		dst = msgp.AppendString(dst, "/")
	} else {
		dst = msgp.AppendString(dst, p.Namespace)
	}
	if len(data) > 0 {
		dst = msgp.AppendString(dst, "data")
		w := msgpackWriter{b: data, counts: countElements(data), attachments: p.Attachments}
		dst, _ = w.value(dst, jsonscan.SkipSpace(data, 0))
	}
	if p.ID >= 0 {
		dst = msgp.AppendString(dst, "id")
		dst = msgp.AppendUint64(dst, uint64(p.ID))
	}
	return dst, nil
}

var errAttachments = errors.New("parley: encode packet: attachments and placeholders do not match")

// countElements returns the number of elements of each array, and of members of each object, in
// valid JSON, in the order in which they begin. MessagePack writes these numbers before the
// contents.
func countElements(b []byte) []uint32 {
	var counts []uint32
	var open []int // indices in counts
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			_, end := stringToken(b, i)
			i = end - 1
		case '[', '{':
			n := uint32(1)
			if b[jsonscan.SkipSpace(b, i+1)] == c+2 {
				n = 0
			}
			open = append(open, len(counts))
			counts = append(counts, n)
		case ',':
			counts[open[len(open)-1]]++
		case ']', '}':
			open = open[:len(open)-1]
		}
	}
	return counts
}

// msgpackWriter converts valid JSON, nested no deeper than depthCeiling, to MessagePack.
type msgpackWriter struct {
	b           []byte
	counts      []uint32 // of the arrays and objects that have not begun yet
	attachments [][]byte
	scratch     []byte // for strings with escapes
}

// value appends the value at b[i] and returns the index after it.
func (w *msgpackWriter) value(dst []byte, i int) ([]byte, int) {
	switch c := w.b[i]; c {
	case 'n':
		return msgp.AppendNil(dst), i + len("null")
	case 't':
		return msgp.AppendBool(dst, true), i + len("true")
	case 'f':
		return msgp.AppendBool(dst, false), i + len("false")
	case '"':
		return w.string(dst, i)
	case '[':
		n := w.count()
		dst = msgp.AppendArrayHeader(dst, n)
		i = jsonscan.SkipSpace(w.b, i+1)
		for range n {
			dst, i = w.value(dst, i)
			i = w.skipComma(i)
		}
		return dst, i + 1
	case '{':
		if len(w.attachments) > 0 {
			if num, end, ok := matchPlaceholder(w.b, i); ok {
				w.count()
				return msgp.AppendBytes(dst, w.attachments[num]), end
			}
		}
		n := w.count()
		dst = msgp.AppendMapHeader(dst, n)
		i = jsonscan.SkipSpace(w.b, i+1)
		for range n {
			dst, i = w.string(dst, i)
			i = jsonscan.SkipSpace(w.b, jsonscan.SkipSpace(w.b, i)+1) // the colon
			dst, i = w.value(dst, i)
			i = w.skipComma(i)
		}
		return dst, i + 1
	default:
		end := jsonscan.Number(w.b, i)
		return appendNumber(dst, w.b[i:end]), end
	}
}

func (w *msgpackWriter) count() uint32 {
	n := w.counts[0]
	w.counts = w.counts[1:]
	return n
}

// skipComma skips the space after an element and, unless it is the last one, the comma.
func (w *msgpackWriter) skipComma(i int) int {
	if i = jsonscan.SkipSpace(w.b, i); w.b[i] == ',' {
		return jsonscan.SkipSpace(w.b, i+1)
	}
	return i
}

func (w *msgpackWriter) string(dst []byte, i int) ([]byte, int) {
	raw, end := stringToken(w.b, i)
	if bytes.IndexByte(raw, '\\') >= 0 {
		w.scratch = appendUnescaped(w.scratch[:0], raw)
		raw = w.scratch
	}
	return msgp.AppendStringFromBytes(dst, raw), end
}

// appendNumber appends a valid JSON number. It writes an integer if the number is one and is exact.
func appendNumber(dst, raw []byte) []byte {
	s := string(raw)
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return msgp.AppendUint64(dst, u)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return msgp.AppendInt64(dst, n)
	}
	f, _ := strconv.ParseFloat(s, 64) // a number out of range is infinite, as in JavaScript
	if f == math.Trunc(f) && math.Abs(f) <= MaxID {
		return msgp.AppendInt64(dst, int64(f))
	}
	return msgp.AppendFloat64(dst, f)
}
