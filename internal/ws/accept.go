package ws

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/parley-go/parley/internal/origin"
)

// AcceptOptions configure [Accept]. You can share them. Do not change them once they are in use.
type AcceptOptions struct {
	// CheckOrigin decides whether the request's origin may connect. If nil, only pages from the
	// request's own host may: see origin.Same.
	CheckOrigin func(*http.Request) bool

	// Subprotocols are the subprotocols that the server speaks, in order of preference.
	Subprotocols []string
	// AnySubprotocol accepts the client's first subprotocol if the client offers none of
	// Subprotocols. A browser that offers subprotocols fails if the server accepts none.
	AnySubprotocol bool

	// Compression allows permessage-deflate. If nil, Accept declines it.
	Compression *Compression
}

// An Accepted is a handshake that the server agrees to. Only one goroutine at a time may use it.
type Accepted struct {
	Subprotocol string         // empty for none
	Deflate     *DeflateParams // nil without compression

	// Header holds additional fields for the response, such as Set-Cookie. It may be nil. The
	// response leaves out fields that belong to the handshake or describe a body.
	Header http.Header

	key [acceptKeySize]byte
}

// A HandshakeError is the answer to a request that [Accept] refuses. It never changes.
type HandshakeError struct {
	Status  int
	Header  http.Header // fields that the status requires; may be nil
	Message string
}

func (e *HandshakeError) Error() string {
	return "ws: handshake refused: " + e.Message
}

// Respond answers the request with the error, as plain text.
func (e *HandshakeError) Respond(w http.ResponseWriter) {
	for name, values := range e.Header {
		w.Header()[name] = values
	}
	http.Error(w, e.Message, e.Status)
}

func badRequest(message string) error {
	return &HandshakeError{Status: http.StatusBadRequest, Message: message}
}

func upgradeRequired(message string) error {
	return &HandshakeError{
		Status: http.StatusUpgradeRequired,
		// A 426 MUST name the protocol (RFC 9110, 15.5.22) and the versions that we speak
		// (RFC 6455, 4.4).
		Header: http.Header{
			"Connection":  {"Upgrade"},
			"Upgrade":     {"websocket"},
			headerVersion: {"13"},
		},
		Message: message,
	}
}

// Accept checks a client's opening handshake (RFC 6455, 4.2.1, or RFC 8441, 5) and chooses the
// subprotocol and compression. It does no I/O. Afterwards, hijack the connection and write
// [Accepted.AppendResponse] or, if [OverHTTP2], call [Accepted.WriteHeader]. The error is always a
// [*HandshakeError]. A nil o means the defaults.
func Accept(r *http.Request, o *AcceptOptions) (*Accepted, error) {
	if o == nil {
		o = &AcceptOptions{}
	}
	if err := checkRequest(r); err != nil {
		return nil, err
	}
	key, ok := single(r.Header, headerKey)
	if !OverHTTP2(r) && (!ok || !isKey(key)) {
		return nil, badRequest("Sec-WebSocket-Key must be 16 bytes in base64, once")
	}
	checkOrigin := o.CheckOrigin
	if checkOrigin == nil {
		checkOrigin = origin.Same
	}
	if !checkOrigin(r) {
		return nil, &HandshakeError{Status: http.StatusForbidden, Message: "origin not allowed"}
	}
	offers, err := parseExtensions(r.Header[headerExtensions])
	if err != nil {
		return nil, badRequest(err.Error())
	}
	a := &Accepted{Subprotocol: pickSubprotocol(r.Header[headerProtocol], o)}
	appendAcceptKey(a.key[:0], key)
	if o.Compression != nil {
		a.Deflate = negotiateDeflate(offers, o.Compression)
	}
	return a, nil
}

// OverHTTP2 reports whether r requests a WebSocket in an HTTP/2 stream, with an extended CONNECT
// (RFC 8441, 4).
func OverHTTP2(r *http.Request) bool {
	return r.ProtoMajor == 2 && r.Method == http.MethodConnect && r.Header.Get(":protocol") == "websocket"
}

func checkRequest(r *http.Request) error {
	switch {
	case OverHTTP2(r): // net/http has checked the rest
	case r.Method != http.MethodGet:
		return &HandshakeError{
			Status:  http.StatusMethodNotAllowed,
			Header:  http.Header{"Allow": {http.MethodGet}},
			Message: "a WebSocket handshake is a GET request",
		}
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return &HandshakeError{
			Status:  http.StatusBadRequest, // 505 would say that the server lacks something
			Message: "a WebSocket handshake needs HTTP/1.1",
		}
	case !hasToken(r.Header["Connection"], "upgrade") || !hasToken(r.Header["Upgrade"], "websocket"):
		return upgradeRequired("a WebSocket handshake needs Connection: Upgrade and Upgrade: websocket")
	case r.Host == "":
		return badRequest("Host is missing")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		// WebSocket frames follow the request. No intermediary must take them for a body.
		return badRequest("a WebSocket handshake has no body")
	}
	if v, ok := single(r.Header, headerVersion); !ok || v != "13" {
		const message = "only WebSocket version 13 is spoken here"
		if OverHTTP2(r) { // HTTP/2 has neither Upgrade nor Connection (RFC 9113, 8.2.2)
			return &HandshakeError{Status: http.StatusBadRequest, Header: http.Header{headerVersion: {"13"}}, Message: message}
		}
		return upgradeRequired(message)
	}
	return nil
}

// isKey reports whether key is base64 "that, when decoded, is 16 bytes in length"
// (RFC 6455, 4.2.1).
func isKey(key string) bool {
	const size = 16
	if len(key) != base64.StdEncoding.EncodedLen(size) {
		return false
	}
	var buf [size + 2]byte
	n, err := base64.StdEncoding.Decode(buf[:], []byte(key))
	return err == nil && n == size
}

// pickSubprotocol returns the first of our subprotocols that the client offers. If it offers none of
// them and o allows any, it returns the client's first one.
func pickSubprotocol(offered []string, o *AcceptOptions) string {
	for _, name := range o.Subprotocols {
		for _, list := range offered {
			for item := range strings.SplitSeq(list, ",") {
				if trimSpace(item) == name {
					return name
				}
			}
		}
	}
	if o.AnySubprotocol && len(offered) > 0 {
		item, _, _ := strings.Cut(offered[0], ",")
		if item = trimSpace(item); isToken(item) {
			return item
		}
	}
	return ""
}

// notOurs are the fields of Accepted.Header that the response leaves out. The handshake sets some
// of them itself; the others describe a body, and there is none.
var notOurs = map[string]bool{
	"Connection": true, "Upgrade": true, "Keep-Alive": true, "Trailer": true,
	headerKey: true, headerVersion: true, headerProtocol: true, headerExtensions: true, headerAccept: true,
	"Content-Length": true, "Content-Type": true, "Content-Encoding": true, "Transfer-Encoding": true,
}

// AppendResponse appends the header of the 101 response to dst. Frames may follow in the same write.
func (a *Accepted) AppendResponse(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\n"+
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = append(dst, a.key[:]...)
	if a.Subprotocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, a.Subprotocol...)
	}
	if a.Deflate != nil {
		dst = append(dst, "\r\nSec-WebSocket-Extensions: "...)
		dst = a.Deflate.appendTo(dst)
	}
	dst = append(dst, "\r\n"...)
	if len(a.Header) > 0 {
		w := appender{b: dst}
		a.Header.WriteSubset(&w, notOurs) // removes line breaks from values
		dst = w.b
	}
	return append(dst, "\r\n"...)
}

// WriteHeader writes the header of the 200 response over HTTP/2. Then write outgoing frames to w and
// read incoming frames from the request's body.
func (a *Accepted) WriteHeader(w http.ResponseWriter) {
	h := w.Header()
	for name := range notOurs {
		delete(h, name)
	}
	for name, values := range a.Header {
		if !notOurs[name] {
			h[name] = values
		}
	}
	if a.Subprotocol != "" {
		h.Set(headerProtocol, a.Subprotocol)
	}
	if a.Deflate != nil {
		h.Set(headerExtensions, string(a.Deflate.appendTo(nil)))
	}
	w.WriteHeader(http.StatusOK)
}
