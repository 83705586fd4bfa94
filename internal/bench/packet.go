package bench

import (
	"bytes"
	"strconv"

	"github.com/parley-go/parley/internal/sio"
)

// packet holds the parts of a Socket.IO packet that the load generator needs.
type packet struct {
	kind sio.Type
	id   int64  // of an acknowledgement; -1 for none
	data []byte // JSON or empty; valid only while the packet is handled
}

// parsePacket splits a text packet. It skips the namespace, since a connection has only one.
func parsePacket(b []byte) (p packet, ok bool) {
	if len(b) == 0 || b[0] < '0' || b[0] > '6' {
		return p, false
	}
	p.kind, p.id, b = sio.Type(b[0]-'0'), -1, b[1:]
	if len(b) > 0 && b[0] == '/' {
		if _, b, ok = bytes.Cut(b, []byte{','}); !ok {
			return p, true
		}
	}
	if n := countDigits(b); n > 0 {
		id, err := strconv.ParseInt(string(b[:n]), 10, 64)
		if err != nil {
			return p, false
		}
		p.id, b = id, b[n:]
	}
	p.data = b
	return p, true
}

// is reports whether data begins like the arguments of the event.
func (p packet) is(event string) bool {
	d := p.data
	return len(d) > len(event)+3 && d[0] == '[' && d[1] == '"' &&
		string(d[2:2+len(event)]) == event && d[2+len(event)] == '"'
}

// mark is the JSON key of a message's number. It may be anywhere in the data, because servers may put
// the message into another object and reorder the members.
const mark = `"bench":`

// number returns the number after the mark.
func (p packet) number() (n int64, ok bool) {
	i := bytes.Index(p.data, []byte(mark))
	if i < 0 {
		return 0, false
	}
	b := bytes.TrimLeft(p.data[i+len(mark):], " ")
	n, err := strconv.ParseInt(string(b[:countDigits(b)]), 10, 64)
	return n, err == nil
}

// refusal returns the reason if the acknowledgement is a refusal of a server made with Parley,
// {"error": {"code": …, "message": …}}.
func (p packet) refusal() (reason string, refused bool) {
	rest, refused := bytes.CutPrefix(p.data, []byte(`[{"error":`))
	if !refused || !bytes.HasPrefix(rest, []byte(`{"code":`)) {
		return "", false
	}
	return string(bytes.TrimSuffix(rest, []byte("}]"))), true
}

func countDigits(b []byte) int {
	n := 0
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}
