package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/ws"
)

// Options configures a Server. For durations and limits, zero means the default. A negative value
// means no limit, where that is possible.
type Options struct {
	IDSuffix string // ends the id of each session

	PingInterval   time.Duration // between a pong and the next ping; 25 s
	PingTimeout    time.Duration // for the pong; 20 s
	UpgradeTimeout time.Duration // from the candidate's handshake to its upgrade packet; 10 s
	WriteTimeout   time.Duration // for the peer to take some of what is written; 10 s
	BodyTimeout    time.Duration // to receive a whole message, or the whole body of a POST; 30 s
	JoinTimeout    time.Duration // for which a session may be pending, see Session.SetPending; no limit

	MaxPayload int64 // bytes of an inflated message, or of a POST's body; 1,000,000
	// OutboxLimit is how many bytes may wait for one session; 1 MiB. Each message counts for 200
	// bytes more than its size; the largest one does not count. A session over the limit goes on
	// while its peer takes something. It ends as a slow consumer if the peer takes nothing for
	// DrainTimeout, or at once when four times the limit wait.
	OutboxLimit  int
	DrainTimeout time.Duration // 5 s; negative: only WriteTimeout applies
	// SendBuffer is the size of the kernel's send buffer for a WebSocket (SO_SNDBUF, which Linux
	// doubles); 64 KiB. Negative leaves the choice to the system.
	SendBuffer int
	// Budget is what a client may cost. A session over it is read from more slowly. By default
	// budget.Frames and budget.Inflated are limited as DefaultBudget says, and the others are not.
	Budget budget.Limits

	// MaxMemory is how many bytes may be held for all clients together: in outboxes, for handlers,
	// and in messages that are not complete; 1 GiB. A quarter of it may be held for one address that
	// is not exempt. Beyond that, the sessions end that hold the most. Negative means no limit.
	MaxMemory int64

	MaxSessions   int // in total; no limit
	MaxPerAddress int // sessions per client address, see address.Limited; no limit
	// MaxPending is how many sessions may be pending, see Session.SetPending; no limit. A session
	// counts once for each 2 KiB of its handshake that it begins. At the limit the oldest one ends.
	MaxPending           int
	MaxPendingPerAddress int            // of one client address; no limit
	ExemptAddresses      []netip.Prefix // no limits per address apply to them; address.Loopback

	// MaxHandshake is how many bytes of a handshake's header and URL the server keeps; 16 KiB, as in
	// Node.js. A handshake that needs more is refused.
	MaxHandshake int
	KeepHeaders  []string // the headers that Handshake.Header has; nil means all

	// HTTPCompressionThreshold is the size in bytes from which the server compresses the bodies of
	// polls, for clients that accept that; 1,024.
	HTTPCompressionThreshold int
	// Compression allows permessage-deflate on WebSockets. With nil the server declines it.
	Compression *ws.Compression

	AllowEIO3 bool // also allow clients of the protocol's revision 3
	JSONP     bool // allow polling by scripts and forms, for pages that can do nothing else

	Transports    []string // allowed; all of them
	NoUpgrades    bool     // from one transport to another
	Cookie        *http.Cookie
	CORS          origin.Policy             // which pages may connect, over any transport
	AllowRequest  func(*http.Request) error // may refuse a handshake, see Refusal
	ClientAddress func(*http.Request) string
	ClientSecure  func(*http.Request) bool // whether the client connected over TLS

	// Logger gets a line for each session that ends as a slow consumer. It also gets one a minute
	// for each cause of refused requests, and for middleware that ends waiting requests. The
	// default is slog.Default.
	Logger *slog.Logger
	// Context, if not nil, makes Handshake.Context from a handshake's request. It must not use the
	// request's own context, which ends too soon.
	Context func(*http.Request) context.Context

	// Foreign, if not nil, may serve requests of sessions that this server does not have.
	Foreign Foreign

	// Open makes the handler of a new session, before the client learns of the session. It must not
	// block.
	Open func(*Session) Handler
}

// Refusal is an error of AllowRequest with a message that the client may see.
type Refusal struct {
	Message string
	// RetryAfter, if positive, says that the client has come too soon: the status is then 429, with
	// Retry-After, and not 403.
	RetryAfter time.Duration
}

func (r *Refusal) Error() string { return "engine: request refused: " + r.Message }

// DefaultBudget limits what a client can cause without sending a message that a program asked for.
// Clients of Socket.IO send two or three packets a minute that are no messages.
var DefaultBudget = budget.Limits{
	budget.Frames:   {PerSecond: 1000, Burst: 4000},
	budget.Inflated: {PerSecond: 16 << 20}, // inflating so much text takes 0.13 s
}

func (o Options) withDefaults() (Options, error) {
	for k, def := range DefaultBudget {
		if o.Budget[k].PerSecond == 0 {
			o.Budget[k] = def
		}
	}
	setDefault(&o.PingInterval, 25*time.Second)
	setDefault(&o.PingTimeout, 20*time.Second)
	setDefault(&o.UpgradeTimeout, 10*time.Second)
	setDefault(&o.WriteTimeout, 10*time.Second)
	setDefault(&o.BodyTimeout, 30*time.Second)
	setDefault(&o.MaxPayload, 1_000_000)
	setDefault(&o.MaxMemory, 1<<30)
	setDefault(&o.OutboxLimit, 1<<20)
	setDefault(&o.DrainTimeout, 5*time.Second)
	setDefault(&o.SendBuffer, 64<<10)
	setDefault(&o.HTTPCompressionThreshold, 1024)
	setDefault(&o.MaxHandshake, 16<<10)
	if o.ExemptAddresses == nil {
		o.ExemptAddresses = address.Loopback
	}
	if o.KeepHeaders != nil {
		kept := make([]string, len(o.KeepHeaders))
		for i, name := range o.KeepHeaders {
			kept[i] = http.CanonicalHeaderKey(name)
		}
		o.KeepHeaders = kept
	}
	if o.Transports == nil {
		o.Transports = Transports[:]
	}
	if o.PingInterval < 0 || o.PingTimeout < 0 || o.UpgradeTimeout < 0 || o.MaxPayload < 0 {
		return o, errors.New("PingInterval, PingTimeout, UpgradeTimeout and MaxPayload cannot be negative")
	}
	for _, t := range o.Transports {
		if !slices.Contains(Transports[:], t) {
			return o, fmt.Errorf("unknown transport %q", t)
		}
	}
	if len(o.Transports) == 0 {
		return o, errors.New("no transports")
	}
	if o.Compression != nil {
		c := *o.Compression
		// A compressor with context takeover needs 1 MB per connection. Also, a broadcast could not
		// be compressed just once.
		c.NoServerContextTakeover = true
		if c.Threshold == 0 {
			c.Threshold = 1024
		}
		o.Compression = &c
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ClientAddress == nil {
		o.ClientAddress = func(r *http.Request) string { return r.RemoteAddr }
	}
	if o.ClientSecure == nil {
		o.ClientSecure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if err := o.CORS.Check(); err != nil {
		return o, fmt.Errorf("CORS: %w", err)
	}
	return o, nil
}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// allows reports whether clients may use the transport.
func (o *Options) allows(transport string) bool { return slices.Contains(o.Transports, transport) }

// protocol returns the revision that a handshake asks for. ok is false if the server does not
// support it.
func (o *Options) protocol(eioParameter string) (p eio.Protocol, ok bool) {
	switch {
	case eioParameter == "4":
		return eio.V4, true
	case eioParameter == "3" && o.AllowEIO3:
		return eio.V3, true
	}
	return 0, false
}

// parserConfig returns the configuration that the WebSocket parsers of all connections share.
func (o *Options) parserConfig() *ws.ParserConfig {
	return &ws.ParserConfig{MaxMessage: o.MaxPayload}
}
