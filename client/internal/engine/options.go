package engine

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/ws"
)

// Options configure Dial. Sessions may share them.
type Options struct {
	URL        *url.URL     // of the engine, with the scheme http or https: http://host/socket.io/
	Query      url.Values   // further parameters
	Header     http.Header  // of all requests
	Protocol   eio.Protocol // V4 or V3
	Transports []string     // their names, in the order in which they are tried
	Upgrade    bool         // from polling to a later one of Transports that the server offers

	// OpenTimeout is how long a transport may take to open, or to be upgraded to.
	OpenTimeout time.Duration

	// MaxMessage is the largest message that the server may send, in bytes.
	MaxMessage int64

	NetDial     func(ctx context.Context, network, address string) (net.Conn, error) // nil: a net.Dialer
	TLS         *tls.Config
	HTTP        *http.Client // for polling and sse
	Compression *ws.Compression
	Reactor     *reactor.Reactor

	// OpenStream opens the stream of a WebTransport session; nil: there is no such transport.
	OpenStream func(ctx context.Context, u *url.URL, header http.Header) (Stream, error)
}

// Stream is a bidirectional stream of a WebTransport session.
type Stream interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

// The names of the transports.
const (
	WebSocket    = "websocket"
	Polling      = "polling"
	SSE          = "sse"
	WebTransport = "webtransport"
)

// address returns the URL of a transport's requests.
func (o *Options) address(transport, sid string) *url.URL {
	u := *o.URL
	q := u.Query()
	for name, values := range o.Query {
		q[name] = values
	}
	q.Set("EIO", string('0'+byte(o.Protocol)))
	q.Set("transport", transport)
	if sid != "" {
		q.Set("sid", sid)
	}
	u.RawQuery = q.Encode()
	return &u
}

// RefusedError is the error of a request that the server has answered with an error.
type RefusedError struct {
	Status  int    // of HTTP
	Code    int    // of Engine.IO, as in docs/protocol.md; -1: none
	Message string // of Engine.IO, or the beginning of the answer
}

func (e *RefusedError) Error() string {
	if e.Code >= 0 {
		return fmt.Sprintf("the server refused with status %d: code %d, %s", e.Status, e.Code, e.Message)
	}
	return fmt.Sprintf("the server answered with status %d: %.100q", e.Status, e.Message)
}

// CloseError is how a session has ended.
type CloseError struct {
	Reason string // as the JavaScript client says it: "transport close", "transport error" or "ping timeout"
	Err    error  // the cause; nil if the server has ended the session
}

func (e *CloseError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *CloseError) Unwrap() error { return e.Err }

// The reasons of a CloseError.
const (
	TransportClose = "transport close"
	TransportError = "transport error"
	PingTimeout    = "ping timeout"
	ForcedClose    = "forced close" // by Close
)
