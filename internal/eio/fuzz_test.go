package eio_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/parley-go/parley/internal/eio"
)

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "0{}", "2probe", "4hello", "b", "bAQID", "bAQI", "7", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := eio.V4.Decode(false, b)
		if err != nil {
			if err != eio.ErrMalformed || len(b) > 0 && b[0] >= '0' && b[0] <= '6' {
				t.Fatalf("Decode(%q): %v", b, err)
			}
			return
		}
		if p.Binary {
			repeated, err := eio.V4.Decode(false, eio.V4.AppendBase64(nil, p.Data))
			if b[0] != 'b' || err != nil || !equal(p, repeated) {
				t.Fatalf("Decode(%q) = %v; encoded again that decodes to %v, %v", b, p, repeated, err)
			}
			return
		}
		if again := append([]byte{byte(p.Type)}, p.Data...); !bytes.Equal(again, b) {
			t.Fatalf("Decode(%q) = %v", b, p)
		}
	})
}

// Packets that are decoded and encoded again must decode to the same packets. A payload must not
// hold more packets than its separators allow.
func FuzzDecodePayload(f *testing.F) {
	for _, s := range []string{"", "4a", "4a\x1e4b\x1ebAQID", "4a\x1e", "\x1e", "b", "bAQI", "bAQID\n", "1\x1e2\x1e3probe", "4\x1e\x1e4"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, err := decodeAll(eio.Separated, string(b))
		if err != nil && err != eio.ErrMalformed {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte{0x1e}) + 1; len(packets) > n || err == nil && len(packets) != n {
			t.Fatalf("%d packets of %q (%v)", len(packets), b, err)
		}
		if len(packets) == 0 {
			return
		}
		var again []byte
		for _, p := range packets {
			again = eio.Separated.Append(again, p)
		}
		repeated, err := decodeAll(eio.Separated, string(again))
		if err != nil || !slices.EqualFunc(packets, repeated, equal) {
			t.Fatalf("%q decodes to %v; encoded again to %q, that decodes to %v, %v", b, packets, again, repeated, err)
		}
	})
}

// FuzzDecodePayload3 does the same for revision 3. Callers refuse invalid UTF-8 before decoding,
// but it must do no harm here either.
func FuzzDecodePayload3(f *testing.F) {
	for _, s := range []string{"", "0:", "2:4a", "3:4😀2:4€", "10:b4AQIDBA==1:2", "99999999999:4", "1:b"} {
		f.Add(false, []byte(s))
	}
	for _, s := range []string{"", "\x00\x02\xff4a", "\x01\x03\xff\x04\x01\x02", "\x00\x09\x09\xff4", "\x01\xff", "\x00\x07\xffb4AQID"} {
		f.Add(true, []byte(s))
	}
	f.Fuzz(func(t *testing.T, binary bool, b []byte) {
		e, _ := eio.V3.Encoding(binary)
		packets, err := decodeAll(e, string(b))
		if err != nil && err != eio.ErrMalformed {
			t.Fatal(err)
		}
		size := 0
		for _, p := range packets {
			size += 1 + len(p.Data)
		}
		if size > len(b) {
			t.Fatalf("%d bytes in packets of %q", size, b)
		}
		var again []byte
		for _, p := range packets {
			again = e.Append(again, p)
		}
		if len(packets) == 0 {
			return
		}
		repeated, err := decodeAll(e, string(again))
		if err != nil || !slices.EqualFunc(packets, repeated, equal) {
			t.Fatalf("%q decodes to %v; encoded again to %q, that decodes to %v, %v", b, packets, again, repeated, err)
		}
	})
}

func FuzzDecode3(f *testing.F) {
	for _, s := range []string{"", "0{}", "2probe", "b4AQID", "b", "\x04\x01", "\x02"} {
		f.Add(false, []byte(s))
		f.Add(true, []byte(s))
	}
	f.Fuzz(func(t *testing.T, binary bool, b []byte) {
		p, err := eio.V3.Decode(binary, b)
		if err != nil {
			if err != eio.ErrMalformed {
				t.Fatal(err)
			}
			return
		}
		again := append([]byte{byte(p.Type)}, p.Data...)
		switch {
		case binary:
			again = eio.AppendBinary(nil, p.Data)
		case p.Binary:
			again = eio.V3.AppendBase64(nil, p.Data)
			if repeated, err := eio.V3.Decode(false, again); err != nil || !equal(p, repeated) {
				t.Fatalf("%q decodes to %v; encoded again to %q, that decodes to %v, %v", b, p, again, repeated, err)
			}
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%q decodes to %v", b, p)
		}
	})
}
