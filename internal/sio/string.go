package sio

import (
	"unicode/utf16"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/jsonscan"
)

// stringToken returns the still escaped text between the quotes of the string at b[i], and the
// index after the string. If the string is not valid, it returns some prefix.
func stringToken(b []byte, i int) (raw []byte, end int) {
	start := i + 1
	for i = start; i < len(b); {
		i = jsonscan.SkipPlain(b, i)
		switch {
		case i >= len(b):
		case b[i] == '"':
			return b[start:i], i + 1
		case b[i] == '\\':
			i += 2
		default:
			i++
		}
	}
	return b[min(start, len(b)):], len(b)
}

// stringIs reports whether the raw string means s, which must be ASCII.
func stringIs(raw []byte, s string) bool {
	if len(raw) == len(s) {
		return string(raw) == s
	}
	if len(raw) < len(s) || len(raw) > len(`\u0000`)*len(s) {
		return false
	}
	var buf [len(`\u0000`) * 16]byte
	return string(appendUnescaped(buf[:0], raw)) == s
}

// appendUnescaped appends the meaning of the raw, valid string. As in encoding/json, a lone
// surrogate becomes U+FFFD.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		start := i
		for i < len(raw) && raw[i] != '\\' {
			i++
		}
		dst = append(dst, raw[start:i]...)
		if i+1 >= len(raw) {
			break
		}
		c := raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := jsonscan.Hex4(raw, i)
			i += 4
			if utf16.IsSurrogate(r) {
				if low, ok := escapedRune(raw, i); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
					r = utf16.DecodeRune(r, low)
					i += len(`\u0000`)
				}
			}
			dst = utf8.AppendRune(dst, r) // U+FFFD for a lone surrogate
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// escapedRune reads the \u escape at raw[i], if there is one.
func escapedRune(raw []byte, i int) (r rune, ok bool) {
	if i+1 >= len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
		return 0, false
	}
	return jsonscan.Hex4(raw, i+2)
}

// AppendString appends s as a JSON string in the form that JSON.stringify writes: it escapes only
// what it must. Bytes that are not UTF-8 become U+FFFD.
func AppendString[S string | []byte](dst []byte, s S) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
