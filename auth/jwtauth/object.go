package jwtauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/jsonscan"
)

// object is a JSON object whose members have not been decoded. Names are compared exactly. (Package
// json would take "SUB" for "sub", and the last of two members with one name.)
type object map[string]json.RawMessage

// maxDepth limits the nesting of a header and of claims.
const maxDepth = 16

// parseObject returns the members of an object. It reports false if b is anything else, or if it or
// an object in it has two members of one name.
func parseObject(b []byte) (o object, ok bool) {
	if jsonscan.Check(b, maxDepth) != nil {
		return nil, false
	}
	i := jsonscan.SkipSpace(b, 0)
	if b[i] != '{' {
		return nil, false
	}
	o = object{}
	_, ok = walk(b, i, o)
	return o, ok
}

// walk goes over the object or array of valid JSON that begins at i, and returns the position after
// it. It reports false if an object has two members of one name. If into is not nil, it gets the
// members.
func walk(b []byte, i int, into object) (end int, ok bool) {
	names := into
	isObject := b[i] == '{'
	if isObject && names == nil {
		names = object{}
	}
	for i = jsonscan.SkipSpace(b, i+1); b[i] != '}' && b[i] != ']'; {
		name := ""
		if isObject {
			after := endOfString(b, i)
			if name, ok = unquote(b[i:after]); !ok {
				return 0, false
			}
			if _, twice := names[name]; twice {
				return 0, false
			}
			i = jsonscan.SkipSpace(b, jsonscan.SkipSpace(b, after)+1) // after the colon
		}
		start := i
		switch b[i] {
		case '{', '[':
			if i, ok = walk(b, i, nil); !ok {
				return 0, false
			}
		case '"':
			i = endOfString(b, i)
		default:
			for !jsonscan.IsSpace(b[i]) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
				i++
			}
		}
		if isObject {
			names[name] = b[start:i]
		}
		if i = jsonscan.SkipSpace(b, i); b[i] == ',' {
			i = jsonscan.SkipSpace(b, i+1)
		}
	}
	return i + 1, true
}

// endOfString returns the position after the string that begins at i.
func endOfString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// str returns a member that is a string, or "" if it is absent.
func (o object) str(name string) (s string, ok bool) {
	raw, is := o[name]
	if !is {
		return "", true
	}
	if raw[0] != '"' {
		return "", false
	}
	return unquote(raw)
}

// unquote returns the text of a valid string. It reports false if an escape stands for half a
// character: package json would take all of these for the same one.
func unquote(raw []byte) (s string, ok bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	err := json.Unmarshal(raw, &s)
	return s, err == nil && !strings.ContainsRune(s, utf8.RuneError)
}

// strict is base64url without padding, line breaks and trailing bits (RFC 7515, section 2).
var strict = base64.RawURLEncoding.Strict()

// segment decodes a part of a token.
func segment(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") { // the decoder skips them
		return nil, false
	}
	b, err := strict.DecodeString(s)
	return b, err == nil
}
