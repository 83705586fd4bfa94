package eio_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/parley-go/parley/internal/eio"
)

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "0{}", "2probe", "4hello", "b", "7", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := eio.Decode(b)
		if err != nil {
			if err != eio.ErrMalformed || len(b) > 0 && b[0] >= '0' && b[0] <= '6' {
				t.Fatalf("Decode(%q): %v", b, err)
			}
			return
		}
		if again := append([]byte{byte(p.Type)}, p.Data...); !bytes.Equal(again, b) || p.Binary {
			t.Fatalf("Decode(%q) = %v", b, p)
		}
	})
}

// What is decoded and encoded again decodes to the same packets; the allocations
// follow the size of the input.
func FuzzDecodePayload(f *testing.F) {
	for _, s := range []string{"", "4a", "4a\x1e4b\x1ebAQID", "4a\x1e", "\x1e", "b", "bAQI", "bAQID\n", "1\x1e2\x1e3probe", "4\x1e\x1e4"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, err := decodeAll(string(b))
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
			again = eio.AppendPayload(again, p)
		}
		repeated, err := decodeAll(string(again))
		if err != nil || !slices.EqualFunc(packets, repeated, equal) {
			t.Fatalf("%q decodes to %v; encoded again to %q, that decodes to %v, %v", b, packets, again, repeated, err)
		}
	})
}
