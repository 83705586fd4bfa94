// Package jsonscan scans JSON text (RFC 8259) without decoding it.
package jsonscan

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf8"
)

// Errors of Check.
var (
	ErrSyntax = errors.New("jsonscan: no JSON")
	ErrDepth  = errors.New("jsonscan: nested too deeply")
)

// Check returns nil if b is one JSON value in valid UTF-8, with nothing but space around it, and
// nested at most maxDepth deep. It returns ErrDepth if the nesting is deeper, and ErrSyntax if it
// finds a syntax error first. It does not recurse. It allocates only for data that is nested deeper
// than 128.
func Check(b []byte, maxDepth int) error {
	if !utf8.Valid(b) { // a separate pass is faster than testing each string's characters
		return ErrSyntax
	}
	// One bit per level: 1 for an object.
	var levels [2]uint64
	stack, depth := levels[:], 0

	i := SkipSpace(b, 0)
	for {
		// A value starts at i.
		if i >= len(b) {
			return ErrSyntax
		}
		switch c := b[i]; c {
		case '{', '[':
			if depth == maxDepth {
				return ErrDepth
			}
			if depth == len(stack)*64 {
				stack = append(stack, 0)
			}
			if c == '{' {
				stack[depth/64] |= 1 << (depth % 64)
			} else {
				stack[depth/64] &^= 1 << (depth % 64)
			}
			depth++
			i = SkipSpace(b, i+1)
			if i < len(b) && b[i] == c+2 { // ASCII: '[' + 2 is ']', '{' + 2 is '}'
				depth--
				i++
				break
			}
			if c == '{' {
				if i = scanKey(b, i); i < 0 {
					return ErrSyntax
				}
			}
			continue
		case '"':
			i = scanString(b, i)
		case 't':
			i = scanLiteral(b, i, "true")
		case 'f':
			i = scanLiteral(b, i, "false")
		case 'n':
			i = scanLiteral(b, i, "null")
		default:
			i = Number(b, i)
		}
		if i < 0 {
			return ErrSyntax
		}

		// A value ended before i. Close the containers that it completes.
		for {
			i = SkipSpace(b, i)
			if depth == 0 {
				if i != len(b) {
					return ErrSyntax
				}
				return nil
			}
			if i == len(b) {
				return ErrSyntax
			}
			object := stack[(depth-1)/64]>>((depth-1)%64)&1 == 1
			c := b[i]
			i++
			if c == ',' {
				i = SkipSpace(b, i)
				if object {
					if i = scanKey(b, i); i < 0 {
						return ErrSyntax
					}
				}
				break
			}
			if object && c != '}' || !object && c != ']' {
				return ErrSyntax
			}
			depth--
		}
	}
}

// AppendCompact appends b to dst without the space around its values. b must be valid; see Check.
func AppendCompact(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		start := i
		for i < len(b) && !IsSpace(b[i]) {
			if b[i] == '"' {
				i = scanString(b, i)
			} else {
				i++
			}
		}
		dst = append(dst, b[start:i]...)
		i = SkipSpace(b, i)
	}
	return dst
}

// Each function below takes the index of a token and returns the index after it, or -1 if the token
// is malformed.

// scanKey also skips the colon and the space around it.
func scanKey(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	if i = scanString(b, i); i < 0 {
		return -1
	}
	if i = SkipSpace(b, i); i == len(b) || b[i] != ':' {
		return -1
	}
	return SkipSpace(b, i+1)
}

func scanLiteral(b []byte, i int, literal string) int {
	if len(b)-i < len(literal) || string(b[i:i+len(literal)]) != literal {
		return -1
	}
	return i + len(literal)
}

// Number skips a number.
func Number(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = scanDigits(b, i); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = scanDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return scanDigits(b, i)
	}
	return i
}

// scanDigits skips one or more digits.
func scanDigits(b []byte, i int) int {
	start := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func scanString(b []byte, i int) int {
	i++
	for {
		i = SkipPlain(b, i)
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i = scanEscape(b, i); i < 0 {
				return -1
			}
		default: // a control character
			return -1
		}
	}
}

func scanEscape(b []byte, i int) int {
	if i+1 >= len(b) {
		return -1
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if _, ok := Hex4(b, i+2); ok {
			return i + 6
		}
	}
	return -1
}

// Hex4 reads the four digits of a \u escape.
func Hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case isDigit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// SkipPlain skips the bytes of a string that stand for themselves: all except control characters,
// the quote and the backslash. It tests eight at a time. A subtraction borrows into the top bit of
// each byte that is less than the subtrahend. Masking out bytes whose top bit was set before leaves
// the matches. A borrow may spill into bytes above the first match; those do not count.
func SkipPlain(b []byte, i int) int {
	const ones = 0x0101010101010101
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := w^ones*'"', w^ones*'\\'
		special := ((w-ones*' ')&^w | (quote-ones)&^quote | (backslash-ones)&^backslash) & (ones * 0x80)
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// SkipSpace skips white space.
func SkipSpace(b []byte, i int) int {
	for i < len(b) && IsSpace(b[i]) {
		i++
	}
	return i
}

// IsSpace reports whether c is white space.
func IsSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isDigit(c byte) bool { return c-'0' <= 9 }
