package webtransport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/address"
)

// Options configures a Server. A zero field means its default.
type Options struct {
	HandshakeTimeout time.Duration // for QUIC and TLS; default 10 s
	// IdleTimeout is how long the server waits for a packet before it takes a client for lost,
	// unless the heartbeat fails sooner. The default is 30 s. After half of this time the server
	// sends a keep-alive.
	IdleTimeout time.Duration
	// MaxConnections limits the number of QUIC connections. Each of them is for one session. The
	// default is 100,000; a negative number means no limit.
	MaxConnections int
	// MaxPerAddress limits the same for one IPv4 address, or one /64 network of IPv6; no limit.
	MaxPerAddress int
	// ExemptAddresses lists networks to which MaxPerAddress does not apply, such as those of proxies
	// for UDP. Nil means this machine: 127.0.0.0/8 and ::1.
	ExemptAddresses []netip.Prefix
	// RetryAbove is how many handshakes may be in progress before new clients must prove that
	// their address is theirs, which costs them a round trip. The default is 128.
	RetryAbove int
	// Window limits the bytes from one client that are in flight or unread. The default is 1 MiB.
	Window int
	// Middleware, if not nil, wraps the handler of the requests that open sessions, as you wrap a
	// parley.Server for other transports. It may answer a request itself. It must pass on the
	// ResponseWriter that it gets.
	Middleware func(http.Handler) http.Handler
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	d.HandshakeTimeout = orDefault(d.HandshakeTimeout, 10*time.Second)
	d.IdleTimeout = orDefault(d.IdleTimeout, 30*time.Second)
	d.MaxConnections = orDefault(d.MaxConnections, 100_000)
	d.RetryAbove = orDefault(d.RetryAbove, 128)
	d.Window = orDefault(d.Window, 1<<20)
	if d.ExemptAddresses == nil {
		d.ExemptAddresses = address.Loopback
	}
	return d
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

const (
	// A session is one request with one bidirectional stream in it. The server never reads from
	// further streams, and the windows limit the memory they take.
	maxStreams = 4
	// HTTP/3 needs three unidirectional streams: one for control and two for QPACK.
	maxUniStreams = 8
	// firstWindow is how many bytes may arrive on a new stream before the server reads.
	firstWindow = 64 << 10
	// requestTimeout is how long a connection may stay without a request.
	requestTimeout = 5 * time.Second
	maxHeaderBytes = 16 << 10
)

// ErrServerClosed is the error of Serve after Shutdown or Close.
var ErrServerClosed = http.ErrServerClosed

// Server serves WebTransport sessions and nothing else over HTTP/3. It is safe for concurrent use.
type Server struct {
	parley *parley.Server
	opts   Options
	tls    *tls.Config
	wt     wt.Server
	begun  atomic.Int64 // handshakes in progress

	withdraw func() // withdraws the offer to upgrade

	mu        sync.Mutex
	conns     int
	perClient map[string]int // QUIC connections, by address.Limited
	refused   Refused
	closed    bool
	transport *quic.Transport
	listener  *quic.Listener
	ended     chan struct{} // closed when Serve returns
}

// NewServer returns a server for clients of s. From now on, s offers WebTransport as an upgrade to
// clients that poll. c needs a certificate or GetCertificate. NewServer ignores its protocols and
// versions, since QUIC and HTTP/3 have their own.
func NewServer(s *parley.Server, c *tls.Config, o *Options) *Server {
	server := &Server{parley: s, opts: o.withDefaults(), tls: http3.ConfigureTLSConfig(c), withdraw: s.OfferWebTransport(), perClient: make(map[string]int), ended: make(chan struct{})}
	var handler http.Handler = http.HandlerFunc(server.serve)
	if m := server.opts.Middleware; m != nil {
		handler = m(handler)
	}
	server.wt = wt.Server{
		H3: &http3.Server{
			Handler:        handler,
			MaxHeaderBytes: maxHeaderBytes,
			IdleTimeout:    requestTimeout,
			Logger:         slog.New(slog.DiscardHandler), // it would log the errors of clients
			ConnContext:    withConn,
		},
		CheckOrigin: func(*http.Request) bool { return true }, // parley checks it for all transports
	}
	return server
}

// Serve serves clients on c until Shutdown or Close, and then returns ErrServerClosed. You can call it
// only once. It does not close c.
func (s *Server) Serve(c net.PacketConn) error {
	l, err := s.listen(c)
	if err != nil {
		return err
	}
	defer close(s.ended)
	var serving sync.WaitGroup
	for {
		conn, err := l.Accept(context.Background())
		if err != nil {
			s.withdraw()
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			if closed {
				err = ErrServerClosed
			} else {
				s.transport.Close()
			}
			serving.Wait()
			s.transport.Close()
			return err
		}
		conn.Context().Value(beginning{}).(func())()
		serving.Go(func() {
			if err := s.wt.ServeQUICConn(conn); err != nil {
				conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
			}
		})
	}
}

func (s *Server) listen(c net.PacketConn) (*quic.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrServerClosed
	case s.transport != nil:
		return nil, errors.New("webtransport: Serve was called before")
	}
	s.transport = &quic.Transport{
		Conn:                c,
		StatelessResetKey:   new(quic.StatelessResetKey),
		VerifySourceAddress: func(net.Addr) bool { return s.begun.Load() > int64(s.opts.RetryAbove) },
		ConnContext:         s.connContext,
	}
	rand.Read(s.transport.StatelessResetKey[:]) // never fails
	var err error
	// Do not use ListenEarly: data that arrives before the end of the handshake may be a replay.
	if s.listener, err = s.transport.Listen(s.tls, s.quicConfig()); err != nil {
		s.withdraw()
	}
	return s.listener, err
}

func (s *Server) quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:             s.opts.HandshakeTimeout / 2, // quic-go allows twice this time for a handshake
		MaxIdleTimeout:                   s.opts.IdleTimeout,
		KeepAlivePeriod:                  s.opts.IdleTimeout / 2,
		InitialStreamReceiveWindow:       min(firstWindow, uint64(s.opts.Window)),
		MaxStreamReceiveWindow:           uint64(s.opts.Window),
		InitialConnectionReceiveWindow:   min(firstWindow, uint64(s.opts.Window)),
		MaxConnectionReceiveWindow:       uint64(s.opts.Window),
		MaxIncomingStreams:               maxStreams,
		MaxIncomingUniStreams:            maxUniStreams,
		EnableDatagrams:                  true, // WebTransport requires them; nobody reads them
		EnableStreamResetPartialDelivery: true,
	}
}

// beginning is the context key of the function to call when a connection's handshake has ended.
type beginning struct{}

var errTooMany = errors.New("webtransport: too many connections")

// connContext counts a connection, from its first packet until its context ends.
func (s *Server) connContext(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	client := s.client(info.RemoteAddr.String())
	if !s.enter(client) {
		return nil, errTooMany
	}
	s.begun.Add(1)
	begun := sync.OnceFunc(func() { s.begun.Add(-1) })
	context.AfterFunc(ctx, func() {
		begun()
		s.leave(client)
	})
	return context.WithValue(ctx, beginning{}, begun), nil
}

// client returns the key for MaxPerAddress, or "" if that does not apply.
func (s *Server) client(of string) string { return address.Limited(of, s.opts.ExemptAddresses) }

// enter counts a connection. It returns false if there are too many.
func (s *Server) enter(client string) bool {
	o := &s.opts
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case o.MaxConnections > 0 && s.conns >= o.MaxConnections:
		s.refused.Connections++
		return false
	case o.MaxPerAddress > 0 && client != "" && s.perClient[client] >= o.MaxPerAddress:
		s.refused.PerAddress++
		return false
	}
	s.conns++
	s.perClient[client]++
	return true
}

// Refused counts QUIC connections that were refused, by the limit that was reached.
type Refused struct {
	Connections uint64 // MaxConnections
	PerAddress  uint64 // MaxPerAddress
}

// Refused returns the connections that were refused since the server was made.
func (s *Server) Refused() Refused {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *Server) leave(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
	if s.perClient[client]--; s.perClient[client] == 0 {
		delete(s.perClient, client)
	}
}

// Shutdown stops accepting connections and waits until the existing ones have ended. It does not end
// them: call Shutdown of the parley.Server before, or at the same time. If ctx ends first, Shutdown
// closes the remaining connections, like Close, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	l := s.stop()
	if l == nil {
		return nil
	}
	l.Close()
	var err error
	select {
	case <-s.ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return err
}

// Close ends the server and all its connections at once.
func (s *Server) Close() error {
	if s.stop() == nil {
		return nil
	}
	s.wt.Close()
	err := s.transport.Close()
	<-s.ended
	return err
}

// stop marks the server as closed and returns the listener to close, or nil if Serve was not called.
func (s *Server) stop() *quic.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.withdraw()
	return s.listener
}
