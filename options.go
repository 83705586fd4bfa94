package parley

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/sio"
	"github.com/parley-go/parley/internal/ws"
)

// Options configures a Server. The zero value of each field is its default, which is named here. A
// negative duration or limit means none, where that is possible.
//
// Fields that the parley program has as settings have the same names there. They stand in groups:
//
//   - the whole server: Path, Parser, Recovery, Logger
//   - which clients may connect: CORS, AllowRequest, AllowEIO3
//   - what is known of a client: ClientAddress, ClientSecure, ConnContext
//   - transports: Transports, NoUpgrades, JSONP, Cookie, Compression,
//     HTTPCompressionThreshold, SendBuffer
//   - times: from PingInterval to DrainTimeout
//   - limits on one client: from MaxPayload to BytesPerSecond
//   - limits on all clients: MaxConnections, MaxConnectionsPerAddress, MaxDynamicNamespaces
type Options struct {
	// Path that the server answers at, with and without a slash at the end, and below it. Other
	// requests get 404. "/socket.io/".
	Path string
	// Parser is the packet format, the same one on both sides: ParserJSON (the default), or
	// ParserMsgpack for clients with socket.io-msgpack-parser.
	Parser Parser
	// Recovery lets clients that come back within a while go on where they were. Nil, the
	// default, is without.
	Recovery *Recovery
	// Logger gets the errors of handlers and the server's own. Nil is slog.Default.
	Logger *slog.Logger

	// Which clients may connect.

	// CORS says which pages of other origins may connect, over every transport. The default
	// is none: pages of the same host only, and programs that send no Origin.
	CORS CORS
	// AllowRequest, if not nil, may refuse a handshake. The client sees the message of an
	// *Error or a *ConnectError, and nothing of other errors.
	AllowRequest func(*http.Request) error
	// AllowEIO3 lets clients of Socket.IO 2 connect, too: they speak Engine.IO 3. Such a client
	// takes the id of its connection for the id of its socket. While it polls, whoever knows that
	// id can take the connection over, so do not show Socket.ID to other clients.
	AllowEIO3 bool

	// What is known of a client.

	// ClientAddress, if not nil, tells a client's address, host:port or host, behind a proxy;
	// see ForwardedFor.
	ClientAddress func(*http.Request) string
	// ClientSecure, if not nil, tells whether a client connected over TLS, which may end at a
	// proxy; see ForwardedProto.
	ClientSecure func(*http.Request) bool
	// ConnContext, if not nil, returns the context of a new connection, from which
	// Socket.Context descends: and so the contexts that middleware and handlers get. ctx is the
	// context that it starts from, and r is the handshake's request. Take from the request what
	// you need, such as the user whom HTTP middleware has put into r.Context(); nothing else of
	// it is kept. Do not return a context that descends from r.Context(), for that one ends with the
	// request. When the returned context ends, the connection is closed, so a deadline ends it in
	// time with a session or token.
	ConnContext func(ctx context.Context, r *http.Request) context.Context

	// Transports.

	// Transports lists those that are allowed: TransportPolling and so on. Nil is all.
	// TransportWebTransport needs a server of package webtransport, too.
	Transports []string
	// NoUpgrades has sessions stay with the transport that they begin with.
	NoUpgrades bool
	// JSONP allows polling by scripts and forms, for pages that can do nothing else.
	JSONP bool
	// Cookie, if not nil, is set at the handshake with the session's id as its value.
	Cookie *http.Cookie
	// Compression allows permessage-deflate on WebSockets. Nil, the default, declines it:
	// it costs memory and CPU.
	Compression *Compression
	// HTTPCompressionThreshold is the size in bytes from which polling bodies are
	// compressed, for clients that accept it; 1,024.
	HTTPCompressionThreshold int
	// SendBuffer is how many bytes the kernel is asked to keep for a WebSocket's client
	// (SO_SNDBUF, which Linux doubles); 64 KiB. If negative, the system chooses: up to megabytes.
	SendBuffer int

	// Times.

	PingInterval      time.Duration // from a pong to the next ping; 25 s
	PingTimeout       time.Duration // for the pong; 20 s
	ConnectTimeout    time.Duration // to join the first namespace; 45 s
	UpgradeTimeout    time.Duration // for the upgrade to another transport; 10 s
	BodyTimeout       time.Duration // to receive the whole body of a POST; 30 s
	AttachmentTimeout time.Duration // to receive all attachments of a packet; 30 s
	WriteTimeout      time.Duration // without the client taking any byte; 10 s
	DrainTimeout      time.Duration // the same for a client over MaxOutbox; 5 s

	// Limits on one client. Limits on bytes that wait count each message as 200 more than it has.

	MaxPayload     int64 // bytes of a message, inflated, or of a POST's body; 1,000,000
	MaxAttachments int   // of a packet; 10
	MaxDepth       int   // of a packet's JSON; 64
	MaxNamespaces  int   // that one connection may join; 10
	MaxRooms       int   // that one socket may be in; 128
	MaxPendingAcks int   // that one socket may owe; 1,024
	// MaxInbox is how many events of one socket may wait for its handlers before reading pauses; 256.
	MaxInbox int
	// MaxInboxBytes is how many bytes of one connection may wait for handlers before reading
	// pauses; 1 MiB.
	MaxInboxBytes int
	// MaxOutbox is how many bytes may wait for one connection, the largest message not counted;
	// 1 MiB. A client that is over it and takes nothing for DrainTimeout is disconnected, and one
	// that is over four times as much at once. See Socket.Drain.
	MaxOutbox int
	// EventsPerSecond is how many events one connection may send, with bursts of two seconds'
	// worth; no limit. A client that sends more is disconnected.
	EventsPerSecond float64
	// BytesPerSecond is how many bytes of messages one connection may send, likewise; no limit.
	BytesPerSecond float64

	// Limits on all clients.

	MaxConnections int // no limit
	// MaxConnectionsPerAddress is how many connections one IPv4 address, or one /64 network of
	// IPv6, may have; no limit.
	MaxConnectionsPerAddress int
	// MaxDynamicNamespaces is how many namespaces OfPattern and OfFunc may make; 10,000.
	MaxDynamicNamespaces int
}

// The transports. JSONP is a kind of TransportPolling.
const (
	TransportPolling      = "polling"
	TransportWebSocket    = "websocket"
	TransportSSE          = "sse"
	TransportWebTransport = "webtransport"
)

// Parser is a packet format.
type Parser struct{ parser sio.Parser }

// The packet formats.
var (
	ParserJSON    = Parser{sio.JSON}
	ParserMsgpack = Parser{sio.Msgpack}
)

// CORS says which pages of other origins may connect.
type CORS struct {
	// Origins as browsers send them: "https://example.com", without a slash at the end, with a
	// port unless it is the scheme's own. New refuses what could never match. "*" allows all,
	// and cannot be combined with Credentials.
	Origins []string
	// AllowOrigin, if not nil, decides on origins that are not listed.
	AllowOrigin func(origin string, r *http.Request) bool
	// Credentials lets browsers send cookies along.
	Credentials bool
	// Headers that requests may carry, for the client's extraHeaders.
	Headers []string
	// MaxAge is how long a browser may remember the answer to a preflight.
	MaxAge time.Duration
}

// Compression is permessage-deflate (RFC 7692). The server compresses each message by
// itself, once for all of its receivers, and keeps nothing between messages.
type Compression struct {
	// Threshold is the size in bytes from which messages are compressed; 1,024.
	Threshold int
	// Level is that of compress/flate; the fastest if zero.
	Level int
	// ClientContext lets clients refer to what they have sent before, for which up to 32 KiB
	// of it are kept for each connection. Otherwise they are told to compress each message
	// by itself, too.
	ClientContext bool
}

// Recovery configures connection state recovery: a client that lost its connection gets
// its socket back, with id, rooms and data, and the packets it missed, in order. Clients of
// Socket.IO 2 do not know of it.
//
// What you keep beside the socket does not come back by itself: restore it in OnConnection, if
// Socket.Recovered says so. For subscriptions of a history.Log package history/historyio does that.
type Recovery struct {
	// MaxDisconnection is how long a client may be away; 2 minutes.
	MaxDisconnection time.Duration
	// RunMiddleware has connect middleware run again for recovered sockets.
	RunMiddleware bool
	// MaxBytes bounds the packets that each namespace keeps; 16 MiB. When they are gone
	// sooner, clients are not recovered.
	MaxBytes int
	// MaxSessions bounds the disconnected sockets that each namespace keeps; 100,000.
	MaxSessions int
}

func orDefault[T int | int64 | float64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func (o Options) withDefaults() (Options, error) {
	if o.Path == "" {
		o.Path = "/socket.io/"
	}
	if !strings.HasPrefix(o.Path, "/") {
		return o, fmt.Errorf("parley: Path %q does not begin with a slash", o.Path)
	}
	if o.Parser.parser == nil {
		o.Parser = ParserJSON
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.ConnectTimeout = orDefault(o.ConnectTimeout, 45*time.Second)
	o.AttachmentTimeout = orDefault(o.AttachmentTimeout, 30*time.Second)
	o.MaxNamespaces = orDefault(o.MaxNamespaces, 10)
	o.MaxRooms = orDefault(o.MaxRooms, 128)
	o.MaxInbox = orDefault(o.MaxInbox, 256)
	o.MaxInboxBytes = orDefault(o.MaxInboxBytes, 1<<20)
	o.MaxPendingAcks = orDefault(o.MaxPendingAcks, 1024)
	o.MaxDynamicNamespaces = orDefault(o.MaxDynamicNamespaces, 10_000)
	if o.Recovery != nil {
		r := *o.Recovery
		r.MaxDisconnection = orDefault(r.MaxDisconnection, 2*time.Minute)
		r.MaxBytes = orDefault(r.MaxBytes, 16<<20)
		r.MaxSessions = orDefault(r.MaxSessions, 100_000)
		if r.MaxDisconnection < 0 || r.MaxBytes < 0 || r.MaxSessions < 0 {
			return o, errors.New("parley: Recovery cannot be without bounds")
		}
		o.Recovery = &r
	}
	return o, nil
}

// maxOutbox is MaxOutbox with its default.
func (o *Options) maxOutbox() int { return orDefault(o.MaxOutbox, 1<<20) }

// limits are those of the packet codec.
func (o *Options) limits() *sio.Limits {
	return &sio.Limits{MaxAttachments: o.MaxAttachments, MaxDepth: o.MaxDepth}
}

func (o *Options) engine() engine.Options {
	e := engine.Options{
		PingInterval: o.PingInterval, PingTimeout: o.PingTimeout,
		UpgradeTimeout: o.UpgradeTimeout, WriteTimeout: o.WriteTimeout, BodyTimeout: o.BodyTimeout,
		MaxPayload: o.MaxPayload, OutboxLimit: o.MaxOutbox,
		DrainTimeout: o.DrainTimeout, SendBuffer: o.SendBuffer,
		MaxSessions: o.MaxConnections, MaxPerAddress: o.MaxConnectionsPerAddress,
		HTTPCompressionThreshold: o.HTTPCompressionThreshold,
		AllowEIO3:                o.AllowEIO3, JSONP: o.JSONP,
		Transports: o.Transports, NoUpgrades: o.NoUpgrades,
		Cookie: o.Cookie, CORS: origin.Policy(o.CORS),
		ClientAddress: o.ClientAddress,
		ClientSecure:  o.ClientSecure,
		Logger:        o.Logger,
	}
	if o.ConnContext != nil {
		e.Context = func(r *http.Request) context.Context {
			ctx := o.ConnContext(context.Background(), r)
			if ctx == nil {
				panic("parley: ConnContext returned nil")
			}
			return &connContext{Context: ctx}
		}
	}
	if o.Compression != nil {
		e.Compression = &ws.Compression{
			Threshold: o.Compression.Threshold, Level: o.Compression.Level,
			NoClientContextTakeover: !o.Compression.ClientContext,
		}
	}
	if allow := o.AllowRequest; allow != nil {
		e.AllowRequest = func(r *http.Request) error {
			err := allow(r)
			var exact *ConnectError
			var coded *Error
			if errors.As(err, &exact) || errors.As(err, &coded) {
				return &engine.Refusal{Message: connectError(err).Message}
			}
			return err
		}
	}
	return e
}
