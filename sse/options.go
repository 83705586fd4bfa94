package sse

import (
	"net/http"
	"time"
)

// Options configure a Handler. Zero means the default that is named.
type Options struct {
	KeepAlive    time.Duration // between comments; 20 s. Proxies cut off what is silent for 30 s or 60 s
	WriteTimeout time.Duration // for the client to take one event; 10 s
	// Lifetime ends streams; each lasts 80 to 100 % of it. 1 h; negative is without an end.
	Lifetime time.Duration
	// Retry is how long clients wait before they come back: each is told 50 to 150 % of it. 3 s.
	Retry time.Duration
	// MaxQueue bounds the bytes that wait for one client; 256 KiB. One who is further behind
	// is disconnected, and gets the rest when it comes back.
	MaxQueue int

	MaxStreams    int // in all; no limit. More are refused with 503
	MaxPerAddress int // of one IPv4 address, or one /64 network of IPv6; no limit. More are refused with 429
	// ClientAddress, if not nil, tells a client's address, host:port or host, behind a proxy.
	ClientAddress func(*http.Request) string

	// CORS says which pages of other origins may read. The default is none.
	CORS CORS
}

// CORS says which pages of other origins may read.
type CORS struct {
	// Origins as browsers send them: "https://example.com", without a slash at the end, with a
	// port unless it is the scheme's own. New panics if one could never match. "*" allows all,
	// and cannot be combined with Credentials.
	Origins []string
	// AllowOrigin, if not nil, decides on origins that are not listed.
	AllowOrigin func(origin string, r *http.Request) bool
	// Credentials lets browsers send cookies along.
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
	if o.MaxQueue <= 0 {
		o.MaxQueue = 256 << 10
	}
	return o
}
