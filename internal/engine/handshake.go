package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Handshake is what is kept of the request that opened a session. It is immutable and
// safe for concurrent use.
type Handshake struct {
	Context context.Context // what Options.Context made of the request; nil without that
	Address string          // the client's, host:port
	Secure  bool            // the client connected over TLS
	URI     string          // path and query
	headers string          // "Name: value\n" for each: a fraction of a map's size
	opened  int64           // in nanoseconds of Unix time: a third of a time.Time
}

// Time returns when the session was opened.
func (h *Handshake) Time() time.Time { return time.Unix(0, h.opened) }

// maxHandshake bounds, in bytes, what is kept of a request. Node.js takes no larger header.
const maxHandshake = 16 << 10

// newHandshake keeps what it has to of a request, in as many bytes as that takes.
func newHandshake(r *http.Request) (*Handshake, *requestError) {
	uri := r.URL.RequestURI()
	size := 0
	eachField(r, func(name, value string) { size += len(name) + len(": ") + len(value) + len("\n") })
	if size+len(uri) > maxHandshake {
		return nil, errTooLarge
	}
	var b strings.Builder
	b.Grow(size)
	eachField(r, func(name, value string) {
		b.WriteString(name)
		b.WriteString(": ")
		b.WriteString(value)
		b.WriteByte('\n')
	})
	return &Handshake{opened: time.Now().UnixNano(), URI: uri, headers: b.String()}, nil
}

// eachField calls f for each line of the header that does not concern the connection alone.
func eachField(r *http.Request, f func(name, value string)) {
	f("Host", r.Host)
	for name, values := range r.Header {
		switch name {
		case "Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions":
			continue
		}
		for _, v := range values {
			f(name, v)
		}
	}
}

// Header returns the request's header, Host included, as a copy.
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
	v, _ := url.ParseQuery(raw) // what is well-formed of it
	return v
}

// query is what the protocol reads from a URL.
type query struct {
	eio, transport, sid string
	j                   string // of JSONP
	jsonp               bool   // j is there
	b64                 bool   // the client cannot receive bytes
	lastEventID         string // of sse
}

// parseQuery takes the last value of each parameter, as the reference does, without
// building a map. What is not well-formed is taken as it stands: a broken sid is an
// unknown one, and not a handshake.
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

// script reports whether a page makes the request with a script or a form: JSONP.
func (q *query) script() bool { return q.jsonp && q.transport == transportPolling }

// idBytes is how many random bytes an id has: 120 bits, 20 characters.
const idBytes = 15

// NewID returns a random id of 20 URL-safe characters that cannot be guessed.
func NewID() string {
	var b [idBytes]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
