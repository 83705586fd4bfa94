package eio_test

import (
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/eio"
)

func text(kind eio.Type, data string) eio.Packet { return eio.Packet{Type: kind, Data: []byte(data)} }
func binary(data string) eio.Packet {
	return eio.Packet{Type: eio.Message, Binary: true, Data: []byte(data)}
}

func equal(a, b eio.Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && string(a.Data) == string(b.Data)
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want eio.Packet
	}{
		{"0{}", text(eio.Open, "{}")},
		{"1", text(eio.Close, "")},
		{"2", text(eio.Ping, "")},
		{"2probe", text(eio.Ping, eio.Probe)},
		{"3probe", text(eio.Pong, eio.Probe)},
		{"4", text(eio.Message, "")},
		{"4hello", text(eio.Message, "hello")},
		{"4€\x1e\x00", text(eio.Message, "€\x1e\x00")},
		{"5", text(eio.Upgrade, "")},
		{"6", text(eio.Noop, "")},
		{"b", binary("")},
		{"bAQID", binary("\x01\x02\x03")},
	} {
		if got, err := eio.V4.Decode(false, []byte(tt.in)); err != nil || !equal(got, tt.want) {
			t.Errorf("Decode(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "7", "/", ":", "a", "bAQI", "bAQ!D", "B", " 4", "-1", "\x00", "\x04", "\xff", "４"} {
		if got, err := eio.V4.Decode(false, []byte(in)); err != eio.ErrMalformed {
			t.Errorf("Decode(%q) = %v, %v, want ErrMalformed", in, got, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	packet := []byte("4hello")
	if n := testing.AllocsPerRun(100, func() { eio.V4.Decode(false, packet) }); n != 0 {
		t.Errorf("Decode: %v allocations, want 0", n)
	}
	payload := []byte("4" + strings.Repeat("\x1e4abc", 100))
	yield := func(eio.Packet) error { return nil }
	if n := testing.AllocsPerRun(100, func() { eio.Separated.Decode(payload, yield) }); n != 0 {
		t.Errorf("DecodePayload of text: %v allocations, want 0", n)
	}
	p, dst := binary(strings.Repeat("x", 1000)), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { dst = eio.Separated.Append(dst[:0], p) }); n != 0 {
		t.Errorf("AppendPayload: %v allocations, want 0", n)
	}
}
