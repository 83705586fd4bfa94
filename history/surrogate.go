package history

import (
	"bytes"
	"strconv"
	"unicode/utf16"
)

// mendSurrogates replaces each escape of half a surrogate pair in valid JSON by \ufffd, in place.
// RFC 8259, section 8.2, allows such an escape, but it represents no character, and strict parsers
// reject the whole text. One such message would make its room unreadable.
func mendSurrogates(data []byte) {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 || i+1 == len(data) {
			return
		}
		data = data[i:]
		length := 2 // of the escape
		if r := escaped(data); utf16.IsSurrogate(r) {
			length = 12
			if utf16.DecodeRune(r, escaped(data[6:])) == '\uFFFD' {
				length = copy(data, `\ufffd`)
			}
		}
		data = data[length:]
	}
}

// escaped returns the UTF-16 unit of the escape \uXXXX that data begins with, or -1.
func escaped(data []byte) rune {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}
