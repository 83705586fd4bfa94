package ws_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

// A recorder is a Handler that records what it receives.
type recorder struct{ events []string }

var opcodeNames = map[ws.Opcode]string{
	ws.OpText: "text", ws.OpBinary: "binary", ws.OpClose: "close", ws.OpPing: "ping", ws.OpPong: "pong",
}

func (r *recorder) OnMessage(op ws.Opcode, payload []byte) error {
	r.events = append(r.events, event(op, string(payload)))
	return nil
}

func (r *recorder) OnControl(op ws.Opcode, payload []byte) error {
	r.events = append(r.events, event(op, string(payload)))
	return nil
}

// event returns a recorder's entry for a frame. For a long frame it holds only a checksum.
func event(op ws.Opcode, payload string) string {
	if len(payload) > 300 {
		return fmt.Sprintf("%s of %d bytes %#x", opcodeNames[op], len(payload), crc32.ChecksumIEEE([]byte(payload)))
	}
	return fmt.Sprintf("%s %q", opcodeNames[op], payload)
}

// Flags and opcodes in the first byte of a frame.
const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10

	cont = byte(ws.OpContinuation)
	text = byte(ws.OpText)
	bin  = byte(ws.OpBinary)
	cls  = byte(ws.OpClose)
	ping = byte(ws.OpPing)
	pong = byte(ws.OpPong)
)

// testKey masks the frames of tests.
var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// masked builds a client's frame without help from the package.
func masked(first byte, payload string) []byte {
	b := append(lengthOf(first, 0x80, len(payload)), testKey[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^testKey[i%4])
	}
	return b
}

// plain builds a server's frame without help from the package.
func plain(first byte, payload string) []byte {
	return append(lengthOf(first, 0, len(payload)), payload...)
}

func lengthOf(first, mask byte, n int) []byte {
	switch {
	case n < 126:
		return []byte{first, mask | byte(n)}
	case n < 65536:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, uint64(n))
}

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// feed parses pieces with a new parser and returns the events.
func feed(cfg *ws.ParserConfig, side ws.Side, d *ws.DeflateParams, pieces ...[]byte) ([]string, error) {
	var p ws.Parser
	var r recorder
	p.Init(cfg, side, d)
	for _, piece := range pieces {
		if err := p.Feed(slices.Clone(piece), &r); err != nil {
			return r.events, err
		}
	}
	return r.events, nil
}

// splits calls f with b in one piece, in single bytes, and cut in two at every place. If b is long,
// it cuts only at the first places and some others.
func splits(b []byte, f func(how string, pieces ...[]byte)) {
	f("whole", b)
	var single [][]byte
	for i := range b {
		single = append(single, b[i:i+1])
	}
	f("single bytes", single...)
	for at := 0; at <= len(b); at++ {
		f(fmt.Sprintf("cut at %d", at), b[:at], b[at:])
		if at > 300 {
			at += len(b) / 7
		}
	}
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var fault *ws.CloseError
	switch {
	case code == 0 && err != nil:
		t.Errorf("error %v, want none", err)
	case code != 0 && (!errors.As(err, &fault) || fault.Code != code):
		t.Errorf("error %v, want code %d", err, code)
	}
}

func wantEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("events:\n got %.500q\nwant %.500q", got, want)
	}
}
