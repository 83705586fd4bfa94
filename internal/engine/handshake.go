package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Handshake is what the server keeps of the request that opened a session. It is immutable and safe
// for concurrent use.
type Handshake struct {
	Context     context.Context // the result of Options.Context; nil without that option
	Address     string          // the client's, host:port
	Secure      bool            // the client connected over TLS
	CrossOrigin bool            // the request has an Origin
	URI         string          // path and query
	headers     string          // one "Name: value\n" per line: takes a fraction of a map's memory
	opened      int64           // Unix time in nanoseconds: a third of the size of a time.Time
}

// Time returns when the session was opened.
func (h *Handshake) Time() time.Time { return time.Unix(0, h.opened) }

// newHandshake copies the parts of a request that a Handshake needs, without spare capacity, so that
// nothing else of the request stays in memory.
func (o *Options) newHandshake(r *http.Request) (*Handshake, *requestError) {
	uri := r.URL.RequestURI()
	var buf [1 << 10]byte // most headers fit
	b := append(buf[:0], uri...)
	if o.keeps("Host") {
		b = appendField(b, "Host", r.Host)
	}
	for name, values := range r.Header {
		if !o.keeps(name) {
			continue
		}
		for _, v := range values {
			b = appendField(b, name, v)
		}
	}
	if len(b) > o.MaxHandshake && o.MaxHandshake > 0 {
		return nil, errTooLarge
	}
	text := string(b)
	return &Handshake{
		opened: time.Now().UnixNano(), URI: text[:len(uri)], headers: text[len(uri):],
		CrossOrigin: r.Header.Get("Origin") != "",
	}, nil
}

// keeps reports whether a Handshake has the header.
func (o *Options) keeps(name string) bool {
	if o.KeepHeaders != nil {
		return slices.Contains(o.KeepHeaders, name)
	}
	switch name {
	case "Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions":
		return false // they concern only the connection
	}
	return true
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, '\n')
}

// Header returns a copy of the request's header as far as it is kept, including Host.
func (h *Handshake) Header() http.Header {
	header := http.Header{}
	for line := range strings.Lines(h.headers) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		header[name] = append(header[name], value)
	}
	return header
}

// Query returns the parameters of the request's URL.
func (h *Handshake) Query() url.Values {
	_, raw, _ := strings.Cut(h.URI, "?")
	v, _ := url.ParseQuery(raw) // on an error it returns the well-formed parameters
	return v
}

// query holds the URL parameters that the protocol uses.
type query struct {
	eio, transport, sid string
	j                   string // of JSONP
	jsonp               bool   // the URL has a j
	b64                 bool   // the client cannot receive bytes
	lastEventID         string // of sse
}

// parseQuery takes the last value of each parameter, as the reference does, without building a map.
// It takes a malformed value literally: a broken sid is an unknown session, not a handshake.
func parseQuery(raw string) (q query) {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(pair, "=")
		var into *string
		switch unescape(name) {
		case "EIO":
			into = &q.eio
		case "transport":
			into = &q.transport
		case "sid":
			into = &q.sid
		case "j":
			into, q.jsonp = &q.j, true
		case "lastEventId":
			into = &q.lastEventID
		case "b64":
			q.b64 = value != ""
			continue
		default:
			continue
		}
		*into = unescape(value)
	}
	return q
}

func unescape(s string) string {
	if v, err := url.QueryUnescape(s); err == nil {
		return v
	}
	return s
}

// plain reports whether the transport uses ordinary requests.
func (q *query) plain() bool { return kindOf(q.transport).reach == byRequest }

// script reports whether the page makes the request with a script or a form (JSONP).
func (q *query) script() bool { return q.jsonp && q.transport == transportPolling }

// idBytes is the number of random bytes in an id: 120 bits, 20 characters.
const idBytes = 15

// NewID returns a random, unguessable id of 20 URL-safe characters.
func NewID() string {
	var b [idBytes]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
