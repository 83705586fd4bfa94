package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
)

// hasToken reports whether one of the lists in values contains token, ignoring case
// (RFC 9110, 5.6.1).
func hasToken(values []string, token string) bool {
	for _, list := range values {
		for item := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(trimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// trimSpace trims HTTP's optional white space, which is not Unicode's.
func trimSpace(s string) string { return strings.Trim(s, " \t") }

func isToken(s string) bool { return isEach(s, isTokenByte) }

// isTokenByte reports whether a token may contain c (RFC 9110, 5.6.2).
func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isEach(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return s != ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// acceptKeySize is the length of a Sec-WebSocket-Accept value.
const acceptKeySize = 28

// appendAcceptKey appends the answer to a Sec-WebSocket-Key (RFC 6455, 4.2.2).
func appendAcceptKey(dst []byte, key string) []byte {
	var buf [64]byte
	sum := sha1.Sum(append(append(buf[:0], key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// These are the canonical names, so that lookups need not convert them.
const (
	headerKey        = "Sec-Websocket-Key"
	headerVersion    = "Sec-Websocket-Version"
	headerProtocol   = "Sec-Websocket-Protocol"
	headerExtensions = "Sec-Websocket-Extensions"
	headerAccept     = "Sec-Websocket-Accept"
)

// single returns the value of a field, or "" if it is missing. ok is false if it appears more than
// once.
func single(h http.Header, name string) (value string, ok bool) {
	values := h[name]
	if len(values) != 1 {
		return "", len(values) == 0
	}
	return values[0], true
}
