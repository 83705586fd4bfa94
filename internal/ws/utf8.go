package ws

import "unicode/utf8"

var errInvalidUTF8 error = &CloseError{Code: CloseInvalidData, Reason: "text is not UTF-8"}

// utf8Stream checks a text that arrives in pieces, which may end within a rune.
// It fails with the first byte that no UTF-8 text can have at its place. The
// zero value is ready to use.
type utf8Stream struct {
	rune [utf8.UTFMax]byte // the first n bytes of a rune whose rest is to come
	n    uint8
}

// write reports whether the text may be UTF-8 up to the end of b.
func (s *utf8Stream) write(b []byte) bool {
	for s.n > 0 && len(b) > 0 {
		s.rune[s.n] = b[0]
		s.n++
		b = b[1:]
		if r := s.rune[:s.n]; utf8.FullRune(r) { // complete, or already invalid
			if !utf8.Valid(r) {
				return false
			}
			s.n = 0
		}
	}
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				s.n = uint8(copy(s.rune[:], b[i:]))
				b = b[:i]
			}
			break
		}
	}
	return utf8.Valid(b)
}

// complete reports whether the text does not end within a rune.
func (s *utf8Stream) complete() bool { return s.n == 0 }
