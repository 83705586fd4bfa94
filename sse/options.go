package sse

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/parley-go/parley/internal/address"
)

// Options configure a Handler. Zero means the default, which is named here.
type Options struct {
	KeepAlive    time.Duration // between comments; 20 s. Proxies cut connections that are silent for 30 s or 60 s
	WriteTimeout time.Duration // for the client to receive one event; 10 s
	// Lifetime is the maximum duration of streams; each lasts 80 to 100 % of it. 1 h; negative
	// means no limit.
	Lifetime time.Duration
	// Retry is how long clients wait before they come back; each is told 50 to 150 % of it. 3 s.
	Retry time.Duration
	// MaxQueue is how many bytes may be queued for one client; 256 KiB. A client that is further
	// behind is disconnected, and receives the rest when it comes back.
	MaxQueue int
	// MaxTotal is how many bytes may be queued for all clients together, until Stream.Behind is true
	// for every client for which something is queued; 64 MiB. It bounds the memory of feeds that ask
	// Behind: at most MaxTotal and one event for each.
	MaxTotal int

	MaxStreams    int // in total; no limit. Further ones get 503
	MaxPerAddress int // of one IPv4 address, or one /64 network of IPv6; no limit. Further ones get 429
	// ExemptAddresses lists networks to which MaxPerAddress does not apply. Nil means this machine:
	// 127.0.0.0/8 and ::1. Unix sockets are always exempt.
	ExemptAddresses []netip.Prefix
	// ClientAddress, if not nil, returns the address of a client behind a proxy, as host:port or
	// host.
	ClientAddress func(*http.Request) string

	// CORS sets which pages of other origins may read the feed. By default none may.
	CORS CORS
}

// CORS sets which pages of other origins may read a feed.
type CORS struct {
	// Origins lists origins as browsers send them: "https://example.com", without a trailing slash,
	// and with a port unless it is the scheme's default. New panics if an entry could never match.
	// "*" allows all, and cannot be combined with Credentials.
	Origins []string
	// AllowOrigin, if not nil, decides about origins that are not listed.
	AllowOrigin func(origin string, r *http.Request) bool
	// Credentials lets browsers send cookies.
	Credentials bool
}

func (o Options) withDefaults() Options {
	if o.KeepAlive <= 0 {
		o.KeepAlive = 20 * time.Second
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	if o.Retry <= 0 {
		o.Retry = 3 * time.Second
	}
	if o.ExemptAddresses == nil {
		o.ExemptAddresses = address.Loopback
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = 256 << 10
	}
	if o.MaxTotal <= 0 {
		o.MaxTotal = 64 << 20
	}
	return o
}
