package eio_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/eio"
)

var encodings = map[string]eio.Encoding{"separated": eio.Separated, "counted": eio.Counted, "framed": eio.Framed}

func decodeAll(e eio.Encoding, payload string) (all []eio.Packet, err error) {
	err = e.Decode([]byte(payload), func(p eio.Packet) error {
		p.Data = slices.Clone(p.Data)
		all = append(all, p)
		return nil
	})
	return all, err
}

func TestPayloads(t *testing.T) {
	for name, tt := range map[string]struct {
		encoding eio.Encoding
		packets  []eio.Packet
		want     string
	}{
		"separated": {eio.Separated, []eio.Packet{text(eio.Message, ""), text(eio.Message, "a"), binary(""), binary("\x01\x02\x03\x04"), text(eio.Noop, "")},
			"4\x1e4a\x1eb\x1ebAQIDBA==\x1e6"},
		"counted": {eio.Counted, []eio.Packet{text(eio.Message, "héllo €"), text(eio.Message, "😀"), text(eio.Ping, "probe"), binary("\x01\x02\x03\x04"), binary("")},
			"8:4héllo €3:4😀6:2probe10:b4AQIDBA==2:b4"},
		"framed": {eio.Framed, []eio.Packet{text(eio.Message, "€😀"), binary("\x01\xff"), text(eio.Message, "123456789"), binary("")},
			"\x00\x08\xff4€😀\x01\x03\xff\x04\x01\xff\x00\x01\x00\xff4123456789\x01\x01\xff\x04"},
	} {
		t.Run(name, func(t *testing.T) {
			var b []byte
			for _, p := range tt.packets {
				b = tt.encoding.Append(b, p)
			}
			if string(b) != tt.want {
				t.Errorf("encoded %q, want %q", b, tt.want)
			}
			if got, err := decodeAll(tt.encoding, tt.want); err != nil || !slices.EqualFunc(got, tt.packets, equal) {
				t.Errorf("decoded %v, %v, want %v", got, err, tt.packets)
			}
		})
	}
}

func TestDecodePayload(t *testing.T) {
	a := []eio.Packet{text(eio.Message, "a")}
	for _, tt := range []struct {
		encoding eio.Encoding
		in       string
		want     []eio.Packet
		err      error
	}{
		{eio.Separated, "4a", a, nil},
		{eio.Separated, "4\x1e4", []eio.Packet{text(eio.Message, ""), text(eio.Message, "")}, nil},
		{eio.Separated, "4a\x1ebAQID\x1e3", []eio.Packet{text(eio.Message, "a"), binary("\x01\x02\x03"), text(eio.Pong, "")}, nil},
		{eio.Separated, "b", []eio.Packet{binary("")}, nil},
		{eio.Separated, "bHg==", []eio.Packet{binary("\x1e")}, nil},
		{eio.Separated, "", nil, eio.ErrMalformed},
		{eio.Separated, "\x1e", nil, eio.ErrMalformed},
		{eio.Separated, "4a\x1e", a, eio.ErrMalformed},
		{eio.Separated, "\x1e4a", nil, eio.ErrMalformed},
		{eio.Separated, "4a\x1e7\x1e4b", a, eio.ErrMalformed},
		{eio.Separated, "b!", nil, eio.ErrMalformed},
		{eio.Separated, "bAQI", nil, eio.ErrMalformed},
		{eio.Separated, "bAQI=x", nil, eio.ErrMalformed},
		{eio.Separated, "b_-==", nil, eio.ErrMalformed},

		{eio.Counted, "2:4a", a, nil},
		{eio.Counted, "0:", nil, nil},
		{eio.Counted, "0:2:4a", a, nil},
		{eio.Counted, "002:4a", a, nil},
		{eio.Counted, "", nil, eio.ErrMalformed},
		{eio.Counted, "4a", nil, eio.ErrMalformed},
		{eio.Counted, ":4a", nil, eio.ErrMalformed},
		{eio.Counted, "2", nil, eio.ErrMalformed},
		{eio.Counted, "-2:4a", nil, eio.ErrMalformed},
		{eio.Counted, "+2:4a", nil, eio.ErrMalformed},
		{eio.Counted, "2.0:4a", nil, eio.ErrMalformed},
		{eio.Counted, "2e0:4a", nil, eio.ErrMalformed},
		{eio.Counted, " 2:4a", nil, eio.ErrMalformed},
		{eio.Counted, "3:4a", nil, eio.ErrMalformed},
		{eio.Counted, "2:4a1", a, eio.ErrMalformed},
		{eio.Counted, "2:4a1:", a, eio.ErrMalformed},
		{eio.Counted, "2:4a2:7a", a, eio.ErrMalformed},
		{eio.Counted, "2:4😀", nil, eio.ErrMalformed}, // half of it
		{eio.Counted, "5:4😀", nil, eio.ErrMalformed}, // bytes, not units
		{eio.Counted, "1:b", nil, eio.ErrMalformed},
		{eio.Counted, "6:b2AQID", nil, eio.ErrMalformed}, // a binary ping
		{eio.Counted, "5:b4AQI", nil, eio.ErrMalformed},
		{eio.Counted, "9999999999:4a", nil, eio.ErrMalformed},
		{eio.Counted, "18446744073709551618:4a", nil, eio.ErrMalformed}, // 2^64+2

		{eio.Framed, "\x00\x02\xff4a", a, nil},
		{eio.Framed, "\x00\x00\x02\xff4a", a, nil},
		{eio.Framed, "", nil, eio.ErrMalformed},
		{eio.Framed, "\x00", nil, eio.ErrMalformed},
		{eio.Framed, "\x00\xff", nil, eio.ErrMalformed},
		{eio.Framed, "\x00\x00\xff", nil, eio.ErrMalformed},
		{eio.Framed, "\x00\x02", nil, eio.ErrMalformed},
		{eio.Framed, "\x00\x02\xff4", nil, eio.ErrMalformed},
		{eio.Framed, "\x02\x02\xff4a", nil, eio.ErrMalformed},    // neither text nor binary
		{eio.Framed, "\x00\x0a\xff4a", nil, eio.ErrMalformed},    // not a digit
		{eio.Framed, "\x002\xff4a", nil, eio.ErrMalformed},       // an ASCII digit
		{eio.Framed, "\x01\x02\xff4a", nil, eio.ErrMalformed},    // a digit for the type of a binary message
		{eio.Framed, "\x01\x02\xff\x02a", nil, eio.ErrMalformed}, // a binary ping
		{eio.Framed, "\x00\x02\xff4\xff", nil, eio.ErrMalformed}, // not UTF-8
		{eio.Framed, "\x00\x02\xff4a\x00", a, eio.ErrMalformed},
		{eio.Framed, "\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4a", nil, eio.ErrMalformed},
		{eio.Framed, "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xff4a", nil, eio.ErrMalformed},
	} {
		got, err := decodeAll(tt.encoding, tt.in)
		if err != tt.err || !slices.EqualFunc(got, tt.want, equal) {
			t.Errorf("encoding %d: Decode(%q) = %v, %v, want %v, %v", tt.encoding, tt.in, got, err, tt.want, tt.err)
		}
	}
}

// A truncated payload is malformed, or has fewer packets, which are complete.
func TestCutAtEveryByte(t *testing.T) {
	packets := []eio.Packet{text(eio.Message, "héllo €"), binary("\x00\x1e\xff"), text(eio.Message, "😀\x00"), text(eio.Close, "")}
	for name, e := range encodings {
		var whole []byte
		for _, p := range packets {
			whole = e.Append(whole, p)
		}
		for n := range len(whole) {
			if !e.Binary() && !utf8.Valid(whole[:n]) {
				continue
			}
			got, err := decodeAll(e, string(whole[:n]))
			if err != nil && err != eio.ErrMalformed {
				t.Fatal(err)
			}
			whole := got
			if err == nil && e == eio.Separated && len(got) > 0 { // the last one may be incomplete
				whole = got[:len(got)-1]
			}
			if len(whole) >= len(packets) || !slices.EqualFunc(whole, packets[:len(whole)], equal) {
				t.Errorf("%s: the first %d bytes decode to %v, %v", name, n, got, err)
			}
		}
	}
}

func TestDecodeStopsAtYieldsError(t *testing.T) {
	stop := errors.New("stop")
	for e, payload := range map[eio.Encoding]string{
		eio.Separated: "4a\x1e4b\x1ex",
		eio.Counted:   "2:4a2:4bx",
		eio.Framed:    "\x00\x02\xff4a\x00\x02\xff4bx",
	} {
		calls := 0
		err := e.Decode([]byte(payload), func(eio.Packet) error { calls++; return stop })
		if err != stop || calls != 1 {
			t.Errorf("encoding %d: error %v after %d calls, want stop after 1", e, err, calls)
		}
	}
}

func TestWebSocketMessages(t *testing.T) {
	for _, tt := range []struct {
		protocol eio.Protocol
		binary   bool
		in       string
		want     eio.Packet
		err      error
	}{
		{eio.V4, true, "\x04\x01", binary("\x04\x01"), nil},
		{eio.V4, true, "", binary(""), nil},
		{eio.V4, false, "b4AQID", eio.Packet{}, eio.ErrMalformed},
		{eio.V3, false, "2probe", text(eio.Ping, eio.Probe), nil},
		{eio.V3, true, "\x04\x01", binary("\x01"), nil},
		{eio.V3, true, "\x04", binary(""), nil},
		{eio.V3, true, "", eio.Packet{}, eio.ErrMalformed},
		{eio.V3, true, "\x02\x01", eio.Packet{}, eio.ErrMalformed},
		{eio.V3, true, "4\x01", eio.Packet{}, eio.ErrMalformed},
		{eio.V3, false, "b4AQID", binary("\x01\x02\x03"), nil},
		{eio.V3, false, "b4", binary(""), nil},
		{eio.V3, false, "b", eio.Packet{}, eio.ErrMalformed},
		{eio.V3, false, "bAQID", eio.Packet{}, eio.ErrMalformed},
		{eio.V3, false, "b4AQI", eio.Packet{}, eio.ErrMalformed},
	} {
		got, err := tt.protocol.Decode(tt.binary, []byte(tt.in))
		if err != tt.err || !equal(got, tt.want) {
			t.Errorf("V%d.Decode(%v, %q) = %v, %v, want %v, %v", tt.protocol, tt.binary, tt.in, got, err, tt.want, tt.err)
		}
	}
	if got := eio.AppendBinary([]byte("x"), []byte("\x01\x02")); string(got) != "x\x04\x01\x02" {
		t.Errorf("AppendBinary: %q", got)
	}
	for p, want := range map[eio.Protocol]string{eio.V3: "xb4AQIDBA==", eio.V4: "xbAQIDBA=="} {
		if got := p.AppendBase64([]byte("x"), []byte("\x01\x02\x03\x04")); string(got) != want {
			t.Errorf("AppendBase64 of V%d: %q", p, got)
		}
	}
}

func TestEncodings(t *testing.T) {
	for _, tt := range []struct {
		protocol eio.Protocol
		binary   bool
		want     string
	}{
		{eio.V4, false, "separated true"},
		{eio.V3, false, "counted true"},
		{eio.V3, true, "framed true"},
	} {
		e, ok := tt.protocol.Encoding(tt.binary)
		for name, known := range encodings {
			if got := fmt.Sprint(name, " ", ok); known == e && got != tt.want {
				t.Errorf("V%d, binary %v: %s, want %s", tt.protocol, tt.binary, got, tt.want)
			}
		}
		if e.Binary() != tt.binary {
			t.Errorf("encoding %d is binary: %v", e, e.Binary())
		}
	}
	if _, ok := eio.V4.Encoding(true); ok {
		t.Error("revision 4 has no binary payloads")
	}
}
