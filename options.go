package parley

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/sio"
	"github.com/parley-go/parley/internal/ws"
)

// Options configures a Server. The zero value of each field stands for its default, which its
// comment names, usually at the end. A negative duration or limit means no limit, where that is
// possible.
//
// Settings of the parley program have the same names as these fields. The fields are grouped:
//
//   - the whole server: Path, Parser, Recovery, Cluster, ClusterSecret, ClusterTLS, Logger
//   - which clients may connect: CORS, AllowRequest, AllowEIO3
//   - who a client is: Authorize, IdentityGrace
//   - information about a client: ClientAddress, ClientSecure, ConnContext, KeepHeaders
//   - transports: Transports, NoUpgrades, JSONP, Cookie, Compression,
//     HTTPCompressionThreshold, SendBuffer
//   - times: from PingInterval to DrainTimeout
//   - limits on one client: from MaxHandshake to FramesPerSecond
//   - limits on all clients: from MaxConnections to MaxDynamicNamespaces
type Options struct {
	// Path is where the server answers: at this path, with and without the trailing slash, and
	// below it. Other requests get 404. "/socket.io/".
	Path string
	// Parser is the packet format. Server and clients must use the same: ParserJSON (the default),
	// or ParserMsgpack for clients with socket.io-msgpack-parser.
	Parser Parser
	// Recovery lets clients that come back after a short disconnection continue where they were.
	// Nil, the default, turns it off.
	Recovery *Recovery
	// Cluster, if not nil, connects this server to others, so that what it sends reaches the sockets of
	// all of them; see package adapter. It belongs to this server, which closes it in Shutdown.
	Cluster adapter.Cluster
	// ClusterSecret, if not empty, lets clients reach their session through any server of the cluster, so
	// that the proxy in front needs no sticky sessions. A server passes requests of other servers' sessions
	// on to them. It proves with the secret that it may. All servers need the same secret, of at least 16
	// bytes, and each has to serve PeerHandler.
	ClusterSecret string
	// ClusterTLS, if not nil, is for connections to other servers' PeerHandler, which then has to be served
	// over TLS. Nil means without TLS.
	ClusterTLS *tls.Config
	// Logger logs the errors of handlers and of the server itself. Nil means slog.Default().
	Logger *slog.Logger

	// Which clients may connect.

	// CORS sets which pages of other origins may connect, over every transport. By default none
	// may: only pages of the same host and programs that send no Origin header.
	CORS CORS
	// AllowRequest, if not nil, may refuse a handshake. The client sees the message of an *Error or
	// a *ConnectError. It sees nothing of other errors. The status is 403, or 429 if
	// ConnectError.RetryAfter is set.
	AllowRequest func(*http.Request) error
	// AllowEIO3 also lets clients of Socket.IO 2 connect, which speak Engine.IO 3. Such a client
	// uses the id of its connection as the id of its socket. While it polls, anyone who knows that
	// id can take over the connection, so do not show Socket.ID to other clients.
	AllowEIO3 bool

	// Who a client is.

	// Authorize, if not nil, says who each client is. It is asked whenever a client joins a namespace,
	// over every transport, also after a reconnection or a recovery. See Socket.Identity.
	//
	// Of the handshake's headers it gets those of KeepHeaders and Authorization, which is kept as long
	// as the connection if the client sends it. Clients of Socket.IO 2 can send nothing else for the
	// main namespace, except a query. What else you need, such as a cookie, take with ConnContext.
	//
	// An auth.Opener can take clients without being asked. They connect as fast as without Authorize.
	Authorize auth.Authorizer
	// IdentityGrace is how long a socket stays connected after its identity has expired, so that its
	// client can renew it; 25 s. If negative, it does not stay at all. See Socket.Renew.
	IdentityGrace time.Duration

	// Information about a client.

	// ClientAddress, if not nil, returns the address of a client behind a proxy, as host:port or
	// host; see ForwardedFor.
	ClientAddress func(*http.Request) string
	// ClientSecure, if not nil, reports whether a client uses TLS, even if a proxy terminates it;
	// see ForwardedProto.
	ClientSecure func(*http.Request) bool
	// ConnContext, if not nil, returns the context of a new connection. Socket.Context is derived
	// from it, and so are the contexts of middleware and handlers. ctx is the context to derive it
	// from, and r is the handshake request. Take what you need from the request, such as the user
	// that HTTP middleware has put into r.Context(); the server keeps nothing else of it. Do not
	// return a context derived from r.Context(), because that ends with the request. When the
	// returned context ends, the server closes the connection, as Socket.CloseConnection does. So you
	// can use a deadline to end the connection when a session or token expires.
	ConnContext func(ctx context.Context, r *http.Request) context.Context
	// KeepHeaders names the headers of a handshake that the server keeps, for Handshake.Headers. Nil
	// keeps all, and an empty list none. What is kept stays in memory as long as the connection.
	KeepHeaders []string

	// Transports.

	// Transports lists the allowed transports: TransportPolling and so on. Nil allows all.
	// TransportWebTransport also needs a server from package webtransport.
	Transports []string
	// NoUpgrades keeps sessions on the transport that they started with.
	NoUpgrades bool
	// JSONP allows polling with scripts and forms, for pages that cannot do anything else.
	JSONP bool
	// Cookie, if not nil, is set during the handshake. Its value is the session's id.
	Cookie *http.Cookie
	// Compression allows permessage-deflate on WebSockets. Nil, the default, declines it, because
	// it costs memory and CPU.
	Compression *Compression
	// HTTPCompressionThreshold is the minimum size in bytes of the polling bodies that the server
	// compresses, for clients that accept it; 1,024.
	HTTPCompressionThreshold int
	// SendBuffer is the size in bytes of the kernel's send buffer for a WebSocket (SO_SNDBUF, which
	// Linux doubles); 64 KiB. If negative, the system chooses the size, up to megabytes.
	SendBuffer int

	// Times.

	PingInterval      time.Duration // from a pong to the next ping; 25 s
	PingTimeout       time.Duration // for the pong; 20 s
	ConnectTimeout    time.Duration // from the handshake to the client's first CONNECT packet; 10 s
	UpgradeTimeout    time.Duration // for the upgrade to another transport; 10 s
	BodyTimeout       time.Duration // to receive a whole message, or the whole body of a POST; 30 s
	AttachmentTimeout time.Duration // to receive all attachments of a packet; 30 s
	WriteTimeout      time.Duration // without progress: the client receives not a single byte; 10 s
	DrainTimeout      time.Duration // the same, for a client over MaxOutbox; 5 s

	// Limits for one client. Limits on queued bytes count 200 extra bytes for each message.

	// MaxHandshake is how many bytes of its handshake's URL and kept headers a client may have; 16
	// KiB. A larger handshake gets 431.
	MaxHandshake   int
	MaxPayload     int64 // bytes of a message after decompression, or of a POST body; 1,000,000
	MaxAttachments int   // of a packet; 10
	MaxDepth       int   // of a packet's JSON; 64
	MaxNamespaces  int   // that one connection may join; 10
	MaxRooms       int   // that one socket may be in; 128
	MaxPendingAcks int   // that one socket may be waiting for; 1,024
	// MaxInbox is how many events of one socket may wait for its handlers before reading pauses; 256.
	MaxInbox int
	// MaxInboxBytes is how many bytes of one connection may wait for handlers before reading
	// pauses; 1 MiB.
	MaxInboxBytes int
	// MaxOutbox is how many bytes may be queued for one connection, not counting the largest
	// message; 1 MiB. A client over this limit that receives nothing for DrainTimeout is
	// disconnected. A client over four times the limit is disconnected at once. See Socket.Drain.
	MaxOutbox int

	// Limits per second for one connection, with bursts of two seconds' worth. The server reads more
	// slowly from a client that exceeds one of them, so that the network makes the client wait. The
	// client loses nothing.

	EventsPerSecond float64 // events, and other packets of Socket.IO; no limit
	BytesPerSecond  float64 // received bytes, before decompression; no limit
	// InflatedBytesPerSecond limits the bytes that decompression adds to messages; 16 MiB.
	InflatedBytesPerSecond float64
	// FramesPerSecond limits what costs work and is no message: control frames, fragments after the
	// first of less than 1 KiB, and packets of Engine.IO without a message; 1,000, in bursts 4,000. A
	// client needs a few a minute.
	FramesPerSecond float64

	// Limits for all clients together.

	MaxConnections int // no limit
	// MaxMemory is how many bytes may be held for all clients together: queued for them, waiting for
	// handlers, and in messages that are not complete; 1 GiB. For one address it may be a quarter of
	// that, unless ExemptAddresses has it. A message that waits for many clients counts once. Over the
	// limit, the server disconnects the clients for which it holds the most. Each connection may hold
	// 16 KiB beyond this count.
	MaxMemory int64
	// MaxConnectionsPerAddress is how many connections one IPv4 address, or one /64 network of
	// IPv6, may have; no limit.
	MaxConnectionsPerAddress int
	// MaxPendingConnections is how many connections may be pending; 20,000. A connection is pending
	// until the client's first CONNECT packet, and again if no namespace lets the client in. It
	// counts once for each 2 KiB of its handshake that it begins. Pending connections also count for
	// MaxConnections and MaxConnectionsPerAddress. At each of these limits, the oldest pending
	// connection ends to make room for a newcomer. If one address has more of them than others, it is
	// the oldest of that address.
	MaxPendingConnections int
	MaxPendingPerAddress  int // of one address; no limit of its own
	// ExemptAddresses lists networks to which no limit per address applies. Nil means this machine:
	// 127.0.0.0/8 and ::1. Unix sockets are always exempt. See ClientAddress for clients behind a
	// proxy.
	ExemptAddresses []netip.Prefix
	// MaxDynamicNamespaces is how many namespaces clients may create through OfPattern and OfFunc;
	// 10,000.
	MaxDynamicNamespaces int
}

// Names of transports. JSONP is a variant of TransportPolling.
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

// CORS sets which pages of other origins may connect.
type CORS struct {
	// Origins lists origins as browsers send them: "https://example.com", without a trailing slash,
	// and with a port unless it is the scheme's default. New rejects entries that could never
	// match. "*" allows all, and cannot be combined with Credentials.
	Origins []string
	// AllowOrigin, if not nil, decides about origins that are not listed.
	AllowOrigin func(origin string, r *http.Request) bool
	// Credentials lets browsers send cookies.
	Credentials bool
	// Headers lists the headers that requests may carry, for the client's extraHeaders.
	Headers []string
	// MaxAge is how long a browser may cache the answer to a preflight request.
	MaxAge time.Duration
}

// Compression configures permessage-deflate (RFC 7692). The server compresses each message
// independently, once for all receivers, and keeps no state between messages.
type Compression struct {
	// Threshold is the minimum size in bytes of the messages that the server compresses; 1,024.
	Threshold int
	// Level is a level of compress/flate; zero means the fastest.
	Level int
	// ClientContext lets clients refer to earlier messages when they compress. The server then
	// keeps up to 32 KiB for each connection. If false, the server tells clients to compress each
	// message independently.
	ClientContext bool
}

// Recovery configures connection state recovery. A client that lost its connection gets its socket
// back, with id, rooms and data, and the packets that it missed, in order. Clients of Socket.IO 2
// do not support it.
//
// What you keep outside the socket is not restored. Restore it in OnConnection if Socket.Recovered
// returns true. Package history/historyio does that for subscriptions of a history.Log.
//
// In a cluster of Parley's servers, the client may come back to any of them that has Recovery. Data then
// move as JSON: Socket.Data returns a json.RawMessage, and only a Key of NewNamedKey still has its value.
// If other keys had values, middleware runs, so that it can set them again.
type Recovery struct {
	// MaxDisconnection is how long a client may be away; 2 minutes.
	MaxDisconnection time.Duration
	// RunMiddleware runs the middleware of Use again for all recovered sockets.
	RunMiddleware bool
	// MaxBytes limits the size of the packets that each namespace keeps; 16 MiB. Clients that need
	// packets beyond this limit are not recovered. What a client has missed counts as one message
	// for MaxOutbox.
	MaxBytes int
	// MaxSessions limits the number of disconnected sockets that each namespace keeps; 100,000.
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
	o.IdentityGrace = max(orDefault(o.IdentityGrace, 25*time.Second), 0)
	if o.Authorize != nil && o.KeepHeaders != nil && !slices.Contains(o.KeepHeaders, "Authorization") {
		o.KeepHeaders = with(o.KeepHeaders, "Authorization")
	}
	o.ConnectTimeout = orDefault(o.ConnectTimeout, 10*time.Second)
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

// maxOutbox returns MaxOutbox or its default.
func (o *Options) maxOutbox() int { return orDefault(o.MaxOutbox, 1<<20) }

// idSuffix ends the ids of sessions. In a cluster it tells whose they are.
func (o *Options) idSuffix() string {
	if o.Cluster == nil {
		return ""
	}
	return "." + o.Cluster.Self().Tag
}

// socketSuffix ends the ids of sockets.
func (o *Options) socketSuffix() string {
	if u, ok := o.Cluster.(adapter.Untagger); ok && u.UntaggedSockets() {
		return ""
	}
	return o.idSuffix()
}

// limits returns the limits of the packet codec.
func (o *Options) limits() *sio.Limits {
	return &sio.Limits{MaxAttachments: o.MaxAttachments, MaxDepth: o.MaxDepth}
}

func (o *Options) engine() engine.Options {
	e := engine.Options{
		PingInterval: o.PingInterval, PingTimeout: o.PingTimeout,
		UpgradeTimeout: o.UpgradeTimeout, WriteTimeout: o.WriteTimeout, BodyTimeout: o.BodyTimeout,
		MaxPayload: o.MaxPayload, OutboxLimit: o.MaxOutbox, MaxMemory: o.MaxMemory,
		Budget: budget.Limits{
			budget.Events:   {PerSecond: o.EventsPerSecond},
			budget.Bytes:    {PerSecond: o.BytesPerSecond},
			budget.Inflated: {PerSecond: o.InflatedBytesPerSecond},
			budget.Frames:   {PerSecond: o.FramesPerSecond},
		},
		DrainTimeout: o.DrainTimeout, SendBuffer: o.SendBuffer,
		MaxSessions: o.MaxConnections, MaxPerAddress: o.MaxConnectionsPerAddress,
		MaxPending:           orDefault(o.MaxPendingConnections, 20_000),
		MaxPendingPerAddress: o.MaxPendingPerAddress,
		JoinTimeout:          o.ConnectTimeout, ExemptAddresses: o.ExemptAddresses,
		MaxHandshake: o.MaxHandshake, KeepHeaders: o.KeepHeaders,
		HTTPCompressionThreshold: o.HTTPCompressionThreshold,
		AllowEIO3:                o.AllowEIO3, JSONP: o.JSONP,
		Transports: o.Transports, NoUpgrades: o.NoUpgrades,
		Cookie: o.Cookie, CORS: origin.Policy(o.CORS),
		ClientAddress: o.ClientAddress,
		ClientSecure:  o.ClientSecure,
		Logger:        o.Logger,
	}
	if o.Cluster != nil {
		e.IDSuffix = o.idSuffix()
	}
	if o.ConnContext != nil {
		e.Context = func(r *http.Request) context.Context {
			ctx := o.ConnContext(context.Background(), r)
			if ctx == nil {
				panic("parley: ConnContext returned nil")
			}
			if ctx == context.Background() {
				return nil // it adds nothing, so it is not kept
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
				e := connectError(err)
				return &engine.Refusal{Message: e.Message, RetryAfter: e.RetryAfter}
			}
			return err
		}
	}
	return e
}
