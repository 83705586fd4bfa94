package ws

import "unicode/utf8"

var errInvalidUTF8 error = &CloseError{Code: CloseInvalidData, Reason: "text is not UTF-8"}

// utf8Stream checks a text that arrives in pieces. Pieces may end within a rune. The check fails at
// the first byte that valid UTF-8 cannot have at that place. The zero value is ready to use.
type utf8Stream struct {
	rune [utf8.UTFMax]byte // the first n bytes are the start of an incomplete rune
	n    uint8
}

// write adds b and reports whether the text so far can still be valid UTF-8.
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

// complete reports whether the text ends with a complete rune.
func (s *utf8Stream) complete() bool { return s.n == 0 }
