package sio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/jsonscan"
)

// msgpackReader converts MessagePack to JSON. It trusts a length only if the message has that many
// bytes. So its memory is proportional to the message.
type msgpackReader struct {
	b              []byte // not yet read
	maxDepth       int
	maxAttachments int
	room           int64 // bytes left for attachments
	attachments    [][]byte
}

func (r *msgpackReader) packet() (Packet, error) {
	p := Packet{ID: -1}
	members, err := r.mapHeader()
	if err != nil {
		return p, err
	}
	const (
		hasType = 1 << iota
		hasNamespace
		hasID
		hasData
	)
	seen := 0
	for range members {
		name, err := r.string()
		if err != nil {
			return p, err
		}
		if r.skipUndefined() {
			continue
		}
		member := 0
		switch string(name) {
		case "type":
			member = hasType
			t, ok := r.integer(int64(ConnectError))
			if !ok {
				return p, errType
			}
			p.Type = Type(t)
		case "nsp":
			member = hasNamespace
			ns, err := r.string()
			if err != nil || !validNamespace(ns) {
				return p, errNamespace
			}
			p.Namespace = "/"
			if len(ns) > 1 {
				p.Namespace = string(ns)
			}
		case "id":
			member = hasID
			id, ok := r.integer(MaxID)
			if !ok {
				return p, errID
			}
			p.ID = id
		case "data":
			member = hasData
			// The JSON is usually a little longer.
			if p.Data, err = r.value(make([]byte, 0, len(r.b)+len(r.b)/4+16), 0); err != nil {
				return p, err
			}
			p.Attachments = r.attachments
		default:
			if err := r.skip(); err != nil {
				return p, err
			}
		}
		if seen&member != 0 {
			return p, errMsgpack
		}
		seen |= member
	}
	switch {
	case len(r.b) > 0:
		return p, errMsgpack
	case seen&hasType == 0:
		return p, errType
	case seen&hasNamespace == 0:
		return p, errNamespace
	}
	return p, r.check(&p)
}

// check makes the same checks as the JSON decoder. It also requires data for events and
// acknowledgements, as this format's reference does.
func (r *msgpackReader) check(p *Packet) error {
	arguments := p.Type == Event || p.Type == Ack
	if arguments && p.Data == nil || !arguments && p.Attachments != nil {
		return errPayload
	}
	if err := checkShape(p.Type, p.Data); err != nil {
		return err
	}
	if p.Type == Event {
		if err := checkName(p.Data); err != nil {
			return err
		}
	}
	if p.Attachments != nil {
		// The peer may have sent a map that looks like a placeholder of this package.
		return checkPlaceholders(p.Data, len(p.Attachments))
	}
	return nil
}

// validNamespace reports whether a text header can carry the namespace's name.
func validNamespace(name []byte) bool {
	return len(name) > 0 && name[0] == '/' && bytes.IndexByte(name, ',') < 0 && utf8.Valid(name)
}

// value appends the next value as JSON. depth counts the containers around it.
func (r *msgpackReader) value(dst []byte, depth int) ([]byte, error) {
	lead, ok := r.uint(1)
	if !ok {
		return dst, errMsgpack
	}
	switch {
	case lead <= 0x7f: // positive fixint
		return strconv.AppendUint(dst, lead, 10), nil
	case lead <= 0x8f: // fixmap
		return r.object(dst, lead&0x0f, depth+1)
	case lead <= 0x9f: // fixarray
		return r.array(dst, lead&0x0f, depth+1)
	case lead <= 0xbf: // fixstr
		return r.text(dst, lead&0x1f)
	case lead >= 0xe0: // negative fixint
		return strconv.AppendInt(dst, int64(int8(lead)), 10), nil
	}
	switch lead {
	case 0xc0:
		return append(dst, "null"...), nil
	case 0xc2:
		return append(dst, "false"...), nil
	case 0xc3:
		return append(dst, "true"...), nil
	case 0xc4, 0xc5, 0xc6: // bin
		n, ok := r.uint(1 << (lead - 0xc4))
		b, present := r.take(n)
		if !ok || !present {
			return dst, errMsgpack
		}
		return r.attachment(dst, b)
	case 0xc7, 0xc8, 0xc9: // ext
		n, ok := r.uint(1 << (lead - 0xc7))
		if !ok {
			return dst, errMsgpack
		}
		return r.extension(dst, n, false)
	case 0xca:
		v, ok := r.uint(4)
		if !ok {
			return dst, errMsgpack
		}
		return appendFloat(dst, float64(math.Float32frombits(uint32(v)))), nil
	case 0xcb:
		v, ok := r.uint(8)
		if !ok {
			return dst, errMsgpack
		}
		return appendFloat(dst, math.Float64frombits(v)), nil
	case 0xcc, 0xcd, 0xce, 0xcf: // uint
		v, ok := r.uint(1 << (lead - 0xcc))
		if !ok {
			return dst, errMsgpack
		}
		return strconv.AppendUint(dst, v, 10), nil
	case 0xd0, 0xd1, 0xd2, 0xd3: // int
		size := 1 << (lead - 0xd0)
		v, ok := r.uint(size)
		if !ok {
			return dst, errMsgpack
		}
		unused := 64 - 8*size
		return strconv.AppendInt(dst, int64(v<<unused)>>unused, 10), nil
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext
		return r.extension(dst, 1<<(lead-0xd4), true)
	case 0xd9, 0xda, 0xdb: // str
		n, ok := r.uint(1 << (lead - 0xd9))
		if !ok {
			return dst, errMsgpack
		}
		return r.text(dst, n)
	case 0xdc, 0xdd: // array
		n, ok := r.uint(2 << (lead - 0xdc))
		if !ok {
			return dst, errMsgpack
		}
		return r.array(dst, n, depth+1)
	case 0xde, 0xdf: // map
		n, ok := r.uint(2 << (lead - 0xde))
		if !ok {
			return dst, errMsgpack
		}
		return r.object(dst, n, depth+1)
	}
	return dst, errMsgpack
}

func (r *msgpackReader) array(dst []byte, n uint64, depth int) ([]byte, error) {
	if depth > r.maxDepth {
		return dst, errDepth
	}
	if n > uint64(len(r.b)) { // an element is at least one byte
		return dst, errMsgpack
	}
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = r.value(dst, depth); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// object drops undefined members, as JSON.stringify does.
func (r *msgpackReader) object(dst []byte, n uint64, depth int) ([]byte, error) {
	if depth > r.maxDepth {
		return dst, errDepth
	}
	if n > uint64(len(r.b))/2 {
		return dst, errMsgpack
	}
	dst = append(dst, '{')
	for first := true; n > 0; n-- {
		key, err := r.string()
		if err != nil {
			return dst, err
		}
		if r.skipUndefined() {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(AppendString(dst, key), ':')
		if dst, err = r.value(dst, depth); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (r *msgpackReader) text(dst []byte, n uint64) ([]byte, error) {
	s, ok := r.take(n)
	if !ok {
		return dst, errMsgpack
	}
	if jsonscan.SkipPlain(s, 0) == len(s) && utf8.Valid(s) { // nothing to escape
		return append(append(append(dst, '"'), s...), '"'), nil
	}
	return AppendString(dst, s), nil
}

// attachment stores a copy of b as an attachment and appends its placeholder.
func (r *msgpackReader) attachment(dst, b []byte) ([]byte, error) {
	if len(r.attachments) >= r.maxAttachments {
		return dst, errTooMany
	}
	if r.room -= int64(len(b)); r.room < 0 {
		return dst, errTooLarge
	}
	dst = appendPlaceholder(dst, len(r.attachments))
	r.attachments = append(r.attachments, append([]byte{}, b...))
	return dst, nil
}

// extension reads an extension of n bytes. Its type comes first. Type -1 is MessagePack's
// timestamp. Type 0 belongs to notepack.io, the library that the reference uses: an ArrayBuffer or,
// with a fixed size, undefined (1 byte) or a Date (8 bytes).
func (r *msgpackReader) extension(dst []byte, n uint64, fixed bool) ([]byte, error) {
	typ, ok := r.uint(1)
	b, present := r.take(n)
	if !ok || !present {
		return dst, errMsgpack
	}
	switch typ := int8(typ); {
	case typ == 0 && !fixed:
		return r.attachment(dst, b)
	case typ == 0 && n == 1:
		return append(dst, "null"...), nil
	case typ == 0 && n == 8:
		return appendDate(dst, int64(binary.BigEndian.Uint64(b))), nil
	case typ == -1:
		var sec int64
		var nsec uint64
		switch n {
		case 4:
			sec = int64(binary.BigEndian.Uint32(b))
		case 8:
			v := binary.BigEndian.Uint64(b)
			sec, nsec = int64(v&(1<<34-1)), v>>34
		case 12:
			nsec = uint64(binary.BigEndian.Uint32(b))
			sec = int64(binary.BigEndian.Uint64(b[4:]))
		default:
			return dst, errMsgpack
		}
		if nsec > 999_999_999 {
			return dst, errMsgpack
		}
		if sec < -maxDate/1000 || sec > maxDate/1000 { // else the multiplication could overflow
			return append(dst, "null"...), nil
		}
		return appendDate(dst, sec*1000+int64(nsec/1_000_000)), nil
	}
	return dst, errMsgpack
}

// maxDate is the greatest time value of ECMAScript, in milliseconds since 1970.
const maxDate = 8_640_000_000_000_000

// appendDate appends a time, in milliseconds since 1970, as JSON.stringify writes a Date.
func appendDate(dst []byte, ms int64) []byte {
	if ms < -maxDate || ms > maxDate {
		return append(dst, "null"...)
	}
	t := time.UnixMilli(ms).UTC()
	dst = append(dst, '"')
	if y := t.Year(); y >= 0 && y <= 9999 {
		dst = fmt.Appendf(dst, "%04d", y)
	} else {
		dst = fmt.Appendf(dst, "%+07d", y) // expanded years
	}
	return t.AppendFormat(dst, `-01-02T15:04:05.000Z"`)
}

// skip reads a value and drops it.
func (r *msgpackReader) skip() error {
	before := *r
	_, err := r.value(nil, 0)
	r.attachments, r.room = before.attachments, before.room
	return err
}

// skipUndefined skips notepack.io's undefined.
func (r *msgpackReader) skipUndefined() bool {
	if len(r.b) < 3 || r.b[0] != 0xd4 || r.b[1] != 0 {
		return false
	}
	r.b = r.b[3:]
	return true
}

// integer reads an integer from 0 to limit.
func (r *msgpackReader) integer(limit int64) (n int64, ok bool) {
	// All encodings of an integer, float64 included, give the same JSON.
	var buf [32]byte
	digits, err := r.value(buf[:0], r.maxDepth)
	if err != nil || len(digits) == 0 {
		return 0, false
	}
	n, rest, ok := readDigits(digits, limit)
	return n, ok && len(rest) == 0
}

// string reads a string that aliases the message.
func (r *msgpackReader) string() ([]byte, error) {
	lead, ok := r.uint(1)
	n := lead & 0x1f
	switch {
	case !ok:
		return nil, errMsgpack
	case lead >= 0xd9 && lead <= 0xdb:
		n, ok = r.uint(1 << (lead - 0xd9))
	case lead < 0xa0 || lead > 0xbf:
		return nil, errMsgpack
	}
	s, present := r.take(n)
	if !ok || !present {
		return nil, errMsgpack
	}
	return s, nil
}

func (r *msgpackReader) mapHeader() (n uint64, err error) {
	lead, ok := r.uint(1)
	switch {
	case ok && lead >= 0x80 && lead <= 0x8f:
		return lead & 0x0f, nil
	case ok && (lead == 0xde || lead == 0xdf):
		n, ok = r.uint(2 << (lead - 0xde))
		if ok {
			return n, nil
		}
	}
	return 0, errMsgpack
}

// uint reads a big-endian integer of size bytes.
func (r *msgpackReader) uint(size int) (n uint64, ok bool) {
	b, ok := r.take(uint64(size))
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n, ok
}

// take reads n bytes that alias the message.
func (r *msgpackReader) take(n uint64) (b []byte, ok bool) {
	if n > uint64(len(r.b)) {
		return nil, false
	}
	b, r.b = r.b[:n], r.b[n:]
	return b, true
}
