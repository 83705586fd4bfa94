// Package http2limit limits how many HTTP/2 frames a client may make an http.Server handle.
//
// Go's HTTP/2 server handles the control frames of a connection as fast as they come: SETTINGS, PING,
// PRIORITY, WINDOW_UPDATE, RST_STREAM, and frames without content. One connection that sends nothing
// else costs more than a core. Here a connection over its limit is read more slowly, so that TCP makes
// its client wait. The client loses nothing.
package http2limit

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/parley-go/parley/internal/budget"
)

//lint:file-ignore SA1019 net/http has no other way to see the frames of a connection.

// Options configures the limit. A zero field means its default.
type Options struct {
	// FramesPerSecond is how many frames one connection may send in the long run; 5,000. An upload
	// takes 64 frames per MB, a request 1 to 3. Negative means no limit.
	FramesPerSecond float64
	// Burst is how many frames it may send at once, after a time of rest; 20,000.
	Burst float64
	// Exempt, if not nil, reports whether a connection from this address, host:port, has no limit.
	// Exempt your proxies, since one connection of theirs carries many clients.
	Exempt func(address string) bool
}

// Limit counts the connections that were slowed.
type Limit struct{ slowed atomic.Uint64 }

// Slowed returns how many connections have been over the limit.
func (l *Limit) Slowed() uint64 { return l.slowed.Load() }

// Configure makes hs serve HTTP/2 over TLS with the limit. Call it before hs serves, in place of
// http2.ConfigureServer. It sets fields of hs that concern HTTP/2: TLSNextProto and parts of TLSConfig.
func Configure(hs *http.Server, o *Options) (*Limit, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.FramesPerSecond == 0 {
		opts.FramesPerSecond = 5000
	}
	if opts.Burst == 0 {
		opts.Burst = 20_000
	}
	server := &http2.Server{}
	if err := http2.ConfigureServer(hs, server); err != nil {
		return nil, err
	}
	l, limit := &Limit{}, budget.Limit{PerSecond: opts.FramesPerSecond, Burst: opts.Burst}
	hs.TLSNextProto[http2.NextProtoTLS] = func(hs *http.Server, c *tls.Conn, h http.Handler) {
		var nc net.Conn = c
		if opts.Exempt == nil || !opts.Exempt(c.RemoteAddr().String()) {
			nc = &conn{Conn: c, limit: limit, counts: l, next: prefaceSize}
		}
		o := &http2.ServeConnOpts{Handler: h, BaseConfig: hs}
		if b, ok := h.(interface{ BaseContext() context.Context }); ok { // of net/http, for HTTP/2
			o.Context = b.BaseContext()
		}
		server.ServeConn(nc, o)
	}
	return l, nil
}

const (
	prefaceSize = len(http2.ClientPreface)
	headerSize  = 9 // of a frame; the first three bytes are the length of the rest (RFC 9113, 4.1)
	// pause is how much longer a connection waits than it must. Without it, a connection over its
	// limit would wake up for each frame.
	pause = 20 * time.Millisecond
)

// conn counts the frames that are read.
type conn struct {
	*tls.Conn
	limit   budget.Limit
	balance budget.Balance
	counts  *Limit

	// Owned by the reader.
	next   int // bytes until the next frame
	length int // of the frame whose header is being read
	have   int // bytes of that header
	slowed bool
}

// Read waits first if the connection is over its limit.
func (c *conn) Read(b []byte) (int, error) {
	if wait := c.balance.Charge(c.limit, 0); wait > 0 {
		if !c.slowed {
			c.slowed = true
			c.counts.slowed.Add(1)
		}
		time.Sleep(wait + pause)
	}
	n, err := c.Conn.Read(b)
	if frames := c.count(b[:n]); frames > 0 {
		c.balance.Charge(c.limit, frames)
	}
	return n, err
}

// count returns the number of frames whose headers end in b, which was just read.
func (c *conn) count(b []byte) (frames int) {
	for len(b) > 0 {
		if c.next > 0 {
			n := min(c.next, len(b))
			c.next -= n
			b = b[n:]
			continue
		}
		if c.have < 3 {
			c.length = c.length<<8 | int(b[0])
		}
		if c.have++; c.have == headerSize {
			frames++
			c.next, c.length, c.have = c.length, 0, 0
		}
		b = b[1:]
	}
	return frames
}
