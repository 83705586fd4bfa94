package sio

import (
	"bytes"
	"strconv"

	"github.com/parley-go/parley/internal/jsonscan"
)

// With the JSON parser each attachment is an object {"_placeholder":true,"num":i} in the packet's
// data. The reference replaces every object that has a true "_placeholder" with the attachment at
// the index "num". Attackers used other properties, strings and negative numbers there. Here an
// object with a true "_placeholder" must have exactly these two members, in any order, and every
// attachment must have exactly one such object. A packet that deviates is refused. Encoders never
// deviate: they number what they take out.

const minPlaceholder = len(`{"_placeholder":true,"num":0}`)

// checkPlaceholders checks that valid JSON refers to each of n attachments exactly once.
func checkPlaceholders(data []byte, n int) error {
	// This keeps the memory for a count proportional to the bytes that are present.
	if n > len(data)/minPlaceholder {
		return errPlaceholder
	}
	var few [1]uint64
	seen := few[:]
	if n > 64 {
		seen = make([]uint64, (n+63)/64)
	}
	found := 0
	for i := 0; ; {
		p, err := nextPlaceholder(data, i)
		if err != nil {
			return err
		}
		if p.end == 0 {
			break
		}
		if p.num >= n || seen[p.num/64]>>(p.num%64)&1 == 1 {
			return errPlaceholder
		}
		seen[p.num/64] |= 1 << (p.num % 64)
		found++
		i = p.end
	}
	if found != n {
		return errPlaceholder
	}
	return nil
}

// placeholder is a placeholder at data[start:end]; end is 0 if there is none.
type placeholder struct{ start, end, num int }

// nextPlaceholder finds the first placeholder in valid JSON at or after i. Its time is linear in
// what it skips.
func nextPlaceholder(b []byte, i int) (placeholder, error) {
	for i < len(b) {
		switch b[i] {
		case '{':
			if num, end, ok := matchPlaceholder(b, i); ok {
				return placeholder{i, end, num}, nil
			}
			i++
		case '"':
			var s []byte
			s, i = stringToken(b, i)
			if stringIs(s, "_placeholder") && bytes.HasPrefix(memberValue(b, i), []byte("true")) {
				return placeholder{}, errPlaceholder
			}
		default:
			i++
		}
	}
	return placeholder{}, nil
}

// memberValue returns b from the value whose key ends before i, or nil if that was not a key.
func memberValue(b []byte, i int) []byte {
	if i = jsonscan.SkipSpace(b, i); i >= len(b) || b[i] != ':' {
		return nil
	}
	return b[jsonscan.SkipSpace(b, i+1):]
}

// matchPlaceholder reports whether the object at b[i], in valid JSON, is a placeholder.
func matchPlaceholder(b []byte, i int) (num, end int, ok bool) {
	var marked, numbered bool
	for {
		i = jsonscan.SkipSpace(b, i+1) // past the brace or comma
		if i >= len(b) || b[i] != '"' {
			return 0, 0, false
		}
		key, j := stringToken(b, i)
		value := memberValue(b, j)
		i = len(b) - len(value)
		switch {
		case !marked && stringIs(key, "_placeholder") && bytes.HasPrefix(value, []byte("true")):
			marked = true
			i += len("true")
		case !numbered && stringIs(key, "num") && len(value) > 0 && isDigit(value[0]):
			n, rest, fits := readDigits(value, 1<<31-1)
			if !fits {
				return 0, 0, false
			}
			num, numbered = int(n), true
			i = len(b) - len(rest)
		default:
			return 0, 0, false
		}
		i = jsonscan.SkipSpace(b, i)
		switch {
		case i < len(b) && b[i] == '}':
			return num, i + 1, marked && numbered
		case i >= len(b) || b[i] != ',':
			return 0, 0, false // num is not an integer
		}
	}
}

// appendPlaceholder appends the placeholder of attachment num.
func appendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, `{"_placeholder":true,"num":`...)
	dst = strconv.AppendInt(dst, int64(num), 10)
	return append(dst, '}')
}
