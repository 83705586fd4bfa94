package bench

import (
	"bytes"
	"strconv"

	"github.com/parley-go/parley/internal/sio"
)

// packet is what a load generator has to know of a Socket.IO packet.
type packet struct {
	kind sio.Type
	id   int64  // of an acknowledgement; -1 if there is none
	data []byte // JSON, or nothing; valid while the packet is handled
}

// parsePacket splits a text packet. The namespace is skipped: a connection has one.
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

// is reports whether data begins as the arguments of an event do.
func (p packet) is(event string) bool {
	d := p.data
	return len(d) > len(event)+3 && d[0] == '[' && d[1] == '"' &&
		string(d[2:2+len(event)]) == event && d[2+len(event)] == '"'
}

// mark is the key of a message's number. It is looked for wherever it stands, since servers
// may put the message into another object, and put the members in another order.
const mark = `"bench":`

// number returns the number behind the mark.
func (p packet) number() (n int64, ok bool) {
	i := bytes.Index(p.data, []byte(mark))
	if i < 0 {
		return 0, false
	}
	b := bytes.TrimLeft(p.data[i+len(mark):], " ")
	n, err := strconv.ParseInt(string(b[:countDigits(b)]), 10, 64)
	return n, err == nil
}

// refusal returns the server's reason if the acknowledgement is one of the parley binary's
// refusals, {"code": …, "message": …}.
func (p packet) refusal() (reason string, refused bool) {
	if !bytes.HasPrefix(p.data, []byte(`[{"code":`)) {
		return "", false
	}
	return string(p.data[1 : len(p.data)-1]), true
}

func countDigits(b []byte) int {
	n := 0
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}
