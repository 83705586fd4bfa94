package engine

import (
	"bytes"
	"encoding/json"
	"net/url"
)

// With JSONP a page polls by loading scripts, and posts by sending forms from a hidden frame:
// it needs neither XMLHttpRequest nor CORS.
//
//	GET  …&j=0                     ←  /**/___eio[0]("<payload>");
//	POST …&j=0   d=<payload>       →
//
// Whether a session does is decided, and where its answers go, by the parameter j of its
// handshake. It is the index of a function in an array of the page's and, since it comes
// back as a part of a script, nothing but digits. The comment in front keeps the script
// from being taken for something else, such as a Flash movie, that begins with letters of an
// attacker's choice.

const maxCallback = 10 // digits

// isCallback reports whether j is an index.
func isCallback(j string) bool {
	for _, c := range []byte(j) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return j != "" && len(j) <= maxCallback
}

// callback returns the function that j stands for.
func callback(j string) string { return "/**/___eio[" + j + "](" }

// script returns the script that calls callback with a payload of text. What a string of
// JSON may hold but one of JavaScript, or a script within HTML, may not is escaped: U+2028,
// U+2029, <, > and &.
func script(callback string, payload []byte) []byte {
	quoted, _ := json.Marshal(string(payload)) // cannot fail
	b := make([]byte, 0, len(callback)+len(quoted)+2)
	return append(append(append(b, callback...), quoted...), ");"...)
}

// formData returns the payload that a form holds.
func formData(body []byte) (payload []byte, ok bool) {
	for more := true; more; {
		var pair []byte
		pair, body, more = bytes.Cut(body, []byte{'&'})
		value, is := bytes.CutPrefix(pair, []byte("d="))
		if !is {
			continue
		}
		s, err := url.QueryUnescape(string(value))
		if err != nil {
			return nil, false
		}
		return unescapeNewlines([]byte(s)), true
	}
	return nil, false
}

// unescapeNewlines undoes, in place, what clients do since browsers change the newlines of
// forms: a newline is sent as \n, and \n as \\n.
func unescapeNewlines(b []byte) []byte {
	out := b[:0]
	backslashes := 0 // in front
	for _, c := range b {
		switch {
		case c == 'n' && backslashes == 1:
			out = append(out[:len(out)-1], '\n')
		case c == 'n' && backslashes > 1:
			out = append(out[:len(out)-1], c)
		default:
			out = append(out, c)
		}
		if c == '\\' {
			backslashes++
		} else {
			backslashes = 0
		}
	}
	return out
}
