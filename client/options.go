package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/client/internal/engine"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

// Options configure a client. The zero value of each field stands for its default.
type Options struct {
	// Auth returns what the client sends to prove who it is, in the packet CONNECT: a value that
	// encoding/json encodes as an object. It is asked for each attempt to connect. An error is that of the
	// attempt. Nil: nothing is sent.
	Auth func(ctx context.Context) (any, error)

	// Path is where the server answers. "/socket.io/".
	Path string

	// Query and Header are added to each request. The query of the URL is added as well.
	Query  url.Values
	Header http.Header

	// Transports are the transports to try, in this order: "websocket", "polling", "sse" and, with
	// OpenStream, "webtransport". If the first one is "polling" and the server offers it, the session is
	// upgraded to "websocket" if that is in the list too, as browsers do it. {"websocket", "polling"}.
	Transports []string

	// Protocol is the revision of Engine.IO: 4 for servers of Socket.IO 3 and later, 3 for those of
	// Socket.IO 2. 4.
	Protocol int

	// Msgpack is for servers with socket.io-msgpack-parser.
	Msgpack bool

	// Timeout is how long an attempt to connect may take, for each transport. 20 s.
	Timeout time.Duration

	// Reconnection says how the client connects again. The defaults are those of the JavaScript client.
	Reconnection Reconnection

	// RetryRefused says whether to try again, after the usual pause, when the server has refused the
	// client in a namespace. Nil: no.
	RetryRefused func(*ConnectError) bool

	// MaxBuffer is how many bytes of events may wait: for a connection, and to be sent. An event that
	// finds nothing waiting may be larger. 4 MiB; negative: no limit.
	MaxBuffer int

	// MaxMessage is how many bytes a message of the server may have, and all binary data of an event. A
	// server that sends more is disconnected. 64 MiB.
	MaxMessage int64

	// OnDrop is called with each event that waited and will not be sent: with ErrTooLarge, or ErrClosed.
	OnDrop func(event string, err error)

	// NetDial makes connections. Nil: a net.Dialer does.
	NetDial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS is for https and wss. Nil: the zero value.
	TLS *tls.Config

	// Jar keeps the server's cookies, which some load balancers need. Nil: a jar of this client.
	Jar http.CookieJar

	// Compression offers permessage-deflate to the server.
	Compression bool

	// OpenStream opens the stream of a WebTransport session: see package webtransport/dialer. Nil: there is
	// no such transport.
	OpenStream func(ctx context.Context, u *url.URL, header http.Header) (Stream, error)

	// Logger gets the errors of handlers. Nil: slog.Default().
	Logger *slog.Logger
}

// Stream is a bidirectional stream of WebTransport. Close makes Read and Write return, gives what was written
// time to arrive, and may block meanwhile.
type Stream interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

// Reconnection says how a client connects again.
type Reconnection struct {
	Off      bool          // not at all
	Attempts int           // after which the client gives up; no limit
	Delay    time.Duration // before the first attempt; twice as long before each further one. 1 s
	MaxDelay time.Duration // 5 s
	Jitter   float64       // how much of the delay is random, from 0 to 1. 0.5; negative: nothing
}

// delay returns the pause before an attempt; the first one is 0.
func (r *Reconnection) delay(attempt int) time.Duration {
	d := float64(r.Delay) * math.Pow(2, float64(min(attempt, 60)))
	d = min(d, float64(r.MaxDelay)/(1+r.Jitter)) // so that the limit does not cut the spread
	return time.Duration(d * (1 + r.Jitter*(2*rand.Float64()-1)))
}

// complete returns the options with their defaults, and the address of the engine and the namespace that
// rawURL names.
func (o Options) complete(rawURL string) (_ *Options, namespace string, u *url.URL, err error) {
	u, err = url.Parse(rawURL)
	if err != nil {
		return nil, "", nil, errors.New("client: the URL is malformed") // err could show a password
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return nil, "", nil, fmt.Errorf("client: the URL has the scheme %q, not http, https, ws or wss", u.Scheme)
	}
	if u.Host == "" {
		return nil, "", nil, errors.New("client: the URL has no host")
	}
	namespace = cmp.Or(u.Path, "/")
	o.Path = "/" + strings.Trim(cmp.Or(o.Path, "/socket.io/"), "/") + "/"
	u.Path, u.RawPath, u.Fragment = o.Path, "", ""
	if o.Transports == nil {
		o.Transports = []string{engine.WebSocket, engine.Polling}
	}
	for _, name := range o.Transports {
		if !slices.Contains([]string{engine.WebSocket, engine.Polling, engine.SSE, engine.WebTransport}, name) {
			return nil, "", nil, fmt.Errorf("client: there is no transport %q", name)
		}
	}
	o.Protocol = cmp.Or(o.Protocol, 4)
	if o.Protocol != 3 && o.Protocol != 4 {
		return nil, "", nil, fmt.Errorf("client: there is no protocol %d, only 3 and 4", o.Protocol)
	}
	r := &o.Reconnection
	r.Delay, r.MaxDelay, r.Jitter = cmp.Or(r.Delay, time.Second), cmp.Or(r.MaxDelay, 5*time.Second), cmp.Or(r.Jitter, 0.5)
	r.Jitter = max(0, min(r.Jitter, 1))
	if r.Delay < 0 || r.MaxDelay < 0 || o.Timeout < 0 || o.MaxMessage < 0 {
		return nil, "", nil, errors.New("client: Delay, MaxDelay, Timeout and MaxMessage must not be negative")
	}
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second)
	o.MaxBuffer = cmp.Or(o.MaxBuffer, 4<<20)
	if o.MaxBuffer < 0 {
		o.MaxBuffer = math.MaxInt
	}
	o.MaxMessage = cmp.Or(o.MaxMessage, 64<<20)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Jar == nil {
		o.Jar, err = cookiejar.New(nil)
	}
	return &o, namespace, u, err
}

// engine returns the options of sessions.
func (o *Options) engine(u *url.URL) *engine.Options {
	e := &engine.Options{
		URL: u, Query: o.Query, Header: o.Header, Protocol: eio.Protocol(o.Protocol), Transports: o.Transports,
		Upgrade: o.Transports[0] == engine.Polling, OpenTimeout: o.Timeout, MaxMessage: o.MaxMessage, NetDial: o.NetDial, TLS: o.TLS,
		HTTP: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: o.NetDial, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true},
			Jar:       o.Jar,
		},
	}
	if o.NetDial != nil {
		e.HTTP.Transport.(*http.Transport).Proxy = nil
	}
	if o.Compression {
		e.Compression = &ws.Compression{}
	}
	if o.OpenStream != nil {
		e.OpenStream = func(ctx context.Context, u *url.URL, header http.Header) (engine.Stream, error) {
			return o.OpenStream(ctx, u, header)
		}
	}
	return e
}
