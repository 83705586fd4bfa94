package eio_test

import (
	"errors"
	"slices"
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
	} {
		if got, err := eio.Decode([]byte(tt.in)); err != nil || !equal(got, tt.want) {
			t.Errorf("Decode(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "7", "/", ":", "a", "b", "bAQID", " 4", "-1", "\x00", "\x04", "\xff", "４"} {
		if got, err := eio.Decode([]byte(in)); err != eio.ErrMalformed {
			t.Errorf("Decode(%q) = %v, %v, want ErrMalformed", in, got, err)
		}
	}
}

func decodeAll(payload string) (all []eio.Packet, err error) {
	err = eio.DecodePayload([]byte(payload), func(p eio.Packet) error {
		p.Data = slices.Clone(p.Data)
		all = append(all, p)
		return nil
	})
	return all, err
}

func TestDecodePayload(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []eio.Packet
		err  error
	}{
		{"4a", []eio.Packet{text(eio.Message, "a")}, nil},
		{"4\x1e4", []eio.Packet{text(eio.Message, ""), text(eio.Message, "")}, nil},
		{"4a\x1ebAQID\x1e3", []eio.Packet{text(eio.Message, "a"), binary("\x01\x02\x03"), text(eio.Pong, "")}, nil},
		{"b", []eio.Packet{binary("")}, nil},
		{"bHg==", []eio.Packet{binary("\x1e")}, nil},
		{"", nil, eio.ErrMalformed},
		{"\x1e", nil, eio.ErrMalformed},
		{"4a\x1e", []eio.Packet{text(eio.Message, "a")}, eio.ErrMalformed},
		{"\x1e4a", nil, eio.ErrMalformed},
		{"4a\x1e7\x1e4b", []eio.Packet{text(eio.Message, "a")}, eio.ErrMalformed},
		{"b!", nil, eio.ErrMalformed},
		{"bAQI", nil, eio.ErrMalformed},
		{"bAQI=x", nil, eio.ErrMalformed},
		{"b_-==", nil, eio.ErrMalformed},
	} {
		got, err := decodeAll(tt.in)
		if err != tt.err || !slices.EqualFunc(got, tt.want, equal) {
			t.Errorf("DecodePayload(%q) = %v, %v, want %v, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestDecodePayloadStopsAtYieldsError(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := eio.DecodePayload([]byte("4a\x1e4b\x1ex"), func(eio.Packet) error { calls++; return stop })
	if err != stop || calls != 1 {
		t.Errorf("error %v after %d calls, want stop after 1", err, calls)
	}
}

func TestAppendPayload(t *testing.T) {
	var b []byte
	for _, tt := range []struct {
		packet eio.Packet
		want   string
	}{
		{text(eio.Message, ""), "4"},
		{text(eio.Message, "a"), "4\x1e4a"},
		{binary(""), "4\x1e4a\x1eb"},
		{binary("\x01\x02\x03\x04"), "4\x1e4a\x1eb\x1ebAQIDBA=="},
		{text(eio.Noop, ""), "4\x1e4a\x1eb\x1ebAQIDBA==\x1e6"},
	} {
		if b = eio.AppendPayload(b, tt.packet); string(b) != tt.want {
			t.Fatalf("payload %q, want %q", b, tt.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	packet := []byte("4hello")
	if n := testing.AllocsPerRun(100, func() { eio.Decode(packet) }); n != 0 {
		t.Errorf("Decode: %v allocations, want 0", n)
	}
	payload := []byte("4" + strings.Repeat("\x1e4abc", 100))
	yield := func(eio.Packet) error { return nil }
	if n := testing.AllocsPerRun(100, func() { eio.DecodePayload(payload, yield) }); n != 0 {
		t.Errorf("DecodePayload of text: %v allocations, want 0", n)
	}
	p, dst := binary(strings.Repeat("x", 1000)), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { dst = eio.AppendPayload(dst[:0], p) }); n != 0 {
		t.Errorf("AppendPayload: %v allocations, want 0", n)
	}
}
