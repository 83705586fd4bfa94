package ws_test

import "testing"

// farthest inflates a stream of non-final blocks and returns the largest distance of a reference in
// it. It follows RFC 1951 directly, because compress/flate does not report distances.
func farthest(t *testing.T, stream []byte) (out []byte, far int) {
	t.Helper()
	pos := 0 // in bits
	bits := func(n int) (v int) {
		for i := range n {
			v |= int(stream[pos/8]>>(pos%8)&1) << i
			pos++
		}
		return v
	}
	// A code holds its symbols in order, and the number of symbols of each length. That is enough to
	// decode it, since the bits are assigned in this order (3.2.2).
	type code struct {
		count   [16]int
		symbols []int
	}
	build := func(lengths []int) (c code) {
		for n := 1; n <= 15; n++ {
			for symbol, length := range lengths {
				if length == n {
					c.count[n]++
					c.symbols = append(c.symbols, symbol)
				}
			}
		}
		return c
	}
	symbol := func(c code) int {
		v, first, index := 0, 0, 0
		for n := 1; n <= 15; n++ {
			v |= bits(1)
			if v-first < c.count[n] {
				return c.symbols[index+v-first]
			}
			index += c.count[n]
			first = (first + c.count[n]) << 1
			v <<= 1
		}
		t.Fatal("no such code")
		return 0
	}
	fixed := func() (code, code) {
		var lengths, distances []int
		for i := range 288 { // 3.2.6
			switch {
			case i < 144, i >= 280:
				lengths = append(lengths, 8)
			case i < 256:
				lengths = append(lengths, 9)
			default:
				lengths = append(lengths, 7)
			}
		}
		for range 30 {
			distances = append(distances, 5)
		}
		return build(lengths), build(distances)
	}
	dynamic := func() (code, code) {
		literals, distances, count := bits(5)+257, bits(5)+1, bits(4)+4
		order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
		meta := make([]int, 19)
		for _, i := range order[:count] {
			meta[i] = bits(3)
		}
		metaCode := build(meta)
		var lengths []int
		for len(lengths) < literals+distances {
			s, last, n := symbol(metaCode), 0, 1
			switch s {
			case 16:
				last, n = lengths[len(lengths)-1], 3+bits(2)
			case 17:
				n = 3 + bits(3)
			case 18:
				n = 11 + bits(7)
			default:
				last = s
			}
			for range n {
				lengths = append(lengths, last)
			}
		}
		return build(lengths[:literals]), build(lengths[literals:])
	}
	for pos < 8*len(stream) {
		if bits(1) == 1 {
			t.Fatal("final block")
		}
		var literals, distances code
		switch bits(2) {
		case 0:
			pos = (pos + 7) &^ 7
			n := bits(16)
			pos += 16
			out = append(out, stream[pos/8:pos/8+n]...)
			pos += 8 * n
			continue
		case 1:
			literals, distances = fixed()
		case 2:
			literals, distances = dynamic()
		}
		for s := symbol(literals); s != 256; s = symbol(literals) {
			if s < 256 {
				out = append(out, byte(s))
				continue
			}
			length := 258
			if s < 285 {
				s -= 257
				extra := max(0, s/4-1)
				length = 3 + s
				if extra > 0 {
					length = 3 + (4+s%4)<<extra + bits(extra)
				}
			}
			s = symbol(distances)
			distance := 1 + s
			if extra := s/2 - 1; extra > 0 {
				distance = 1 + (2+s%2)<<extra + bits(extra)
			}
			far = max(far, distance)
			for range length {
				out = append(out, out[len(out)-distance])
			}
		}
	}
	return out, far
}
