package sio

import (
	"math"
	"strconv"

	"github.com/parley-go/parley/internal/jsonscan"
)

// The functions below expect data that a Decoder has validated. With other data they return
// nonsense but do not panic.

// EventName returns the name of an event with the given data, or nil if data is empty. If the name
// is a number, it returns the string that JavaScript makes of it. The name aliases data unless it
// had to be rewritten.
func EventName(data []byte) []byte {
	i := jsonscan.SkipSpace(data, 1)
	if i >= len(data) {
		return nil
	}
	return Text(data[i:skipValue(data, i)])
}

// Text returns the text of a string, or what JavaScript's String makes of a number. It aliases value
// unless it had to be rewritten.
func Text(value []byte) []byte {
	if len(value) > 0 && value[0] == '"' {
		raw, _ := stringToken(value, 0)
		return unescape(raw)
	}
	return numberName(value)
}

// Members calls f with the names and values of an object's members. They alias data unless a name has
// escapes.
func Members(data []byte, f func(name, value []byte)) {
	i := jsonscan.SkipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return
	}
	for {
		i = jsonscan.SkipSpace(data, i+1)
		if i >= len(data) || data[i] != '"' {
			return
		}
		raw, end := stringToken(data, i)
		i = jsonscan.SkipSpace(data, jsonscan.SkipSpace(data, end)+1) // after the colon
		if i >= len(data) {
			return
		}
		end = skipValue(data, i)
		f(unescape(raw), data[i:end:end])
		if i = jsonscan.SkipSpace(data, end); i >= len(data) || data[i] != ',' {
			return
		}
	}
}

// unescape returns raw itself if it has no escapes.
func unescape(raw []byte) []byte {
	for _, c := range raw {
		if c == '\\' {
			return appendUnescaped(make([]byte, 0, len(raw)), raw)
		}
	}
	return raw
}

// numberName returns the result of JavaScript's String(Number(raw)).
func numberName(raw []byte) []byte {
	// Most numbers are small integers, which are already in the form that JavaScript writes.
	canonical := len(raw) <= 15 && (len(raw) == 1 || len(raw) > 0 && raw[0] != '0')
	for _, c := range raw {
		canonical = canonical && isDigit(c)
	}
	if canonical {
		return raw
	}
	switch f, _ := strconv.ParseFloat(string(raw), 64); { // a number out of range is infinite
	case math.IsInf(f, 1):
		return []byte("Infinity")
	case math.IsInf(f, -1):
		return []byte("-Infinity")
	default:
		return appendFloat(nil, f)
	}
}

// SplitArgs appends the elements of the array data to dst: the arguments of an Ack.
// They alias data.
func SplitArgs(dst [][]byte, data []byte) [][]byte {
	return splitElements(dst, data, 1)
}

// EventArgs is like [SplitArgs] but skips the first element, the event's name.
func EventArgs(dst [][]byte, data []byte) [][]byte {
	i := jsonscan.SkipSpace(data, 1)
	i = jsonscan.SkipSpace(data, skipValue(data, i))
	if i >= len(data) || data[i] != ',' {
		return dst
	}
	return splitElements(dst, data, i+1)
}

// splitElements starts after a bracket or comma.
func splitElements(dst [][]byte, data []byte, i int) [][]byte {
	for {
		i = jsonscan.SkipSpace(data, i)
		if i >= len(data) || data[i] == ']' {
			return dst
		}
		end := skipValue(data, i)
		dst = append(dst, data[i:end:end])
		i = jsonscan.SkipSpace(data, end) + 1 // past the comma, or past the bracket and so at the end
		if i > len(data) || data[i-1] != ',' {
			return dst
		}
	}
}

// skipValue returns the index after the valid JSON value at b[i].
func skipValue(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			_, i = stringToken(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return i // this closes the container of the value
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}

// AppendEvent appends the data of an event: an array of its name and arguments, which
// must be valid JSON.
func AppendEvent(dst []byte, name string, args ...[]byte) []byte {
	dst = append(dst, '[')
	dst = AppendString(dst, name)
	for _, arg := range args {
		dst = append(dst, ',')
		dst = append(dst, arg...)
	}
	return append(dst, ']')
}

// AppendAck appends the data of an acknowledgement: an array of its arguments, which
// must be valid JSON.
func AppendAck(dst []byte, args ...[]byte) []byte {
	dst = append(dst, '[')
	for i, arg := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, arg...)
	}
	return append(dst, ']')
}
