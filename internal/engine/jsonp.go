package engine

import (
	"bytes"
	"encoding/json"
	"net/url"
)

// With JSONP a page polls by loading scripts, and posts by sending forms from a hidden frame. It
// needs neither XMLHttpRequest nor CORS.
//
//	GET  …&j=0                     ←  /**/___eio[0]("<payload>");
//	POST …&j=0   d=<payload>       →
//
// The parameter j of the handshake decides whether a session uses JSONP, and which callback gets
// its answers. j is the index of a function in an array of the page. It consists of digits only,
// because the server returns it as part of a script. The leading comment ensures that the script
// does not begin with characters that an attacker chooses; otherwise it could be taken for
// something else, such as a Flash movie.

const maxCallback = 10 // digits

// isCallback reports whether j is a valid index.
func isCallback(j string) bool {
	for _, c := range []byte(j) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return j != "" && len(j) <= maxCallback
}

// callback returns the beginning of the call of the function with the index j.
func callback(j string) string { return "/**/___eio[" + j + "](" }

// script returns a script that calls callback with a text payload. It escapes U+2028, U+2029, <, >
// and &: JSON strings may contain them, but JavaScript strings, or scripts within HTML, may not.
func script(callback string, payload []byte) []byte {
	quoted, _ := json.Marshal(string(payload)) // cannot fail
	b := make([]byte, 0, len(callback)+len(quoted)+2)
	return append(append(append(b, callback...), quoted...), ");"...)
}

// formData returns the payload in a form.
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

// unescapeNewlines reverses, in place, how clients escape newlines. Browsers change the newlines in
// forms, so clients send a newline as \n, and \n as \\n.
func unescapeNewlines(b []byte) []byte {
	out := b[:0]
	backslashes := 0 // directly before c
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
