package webtransport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley"
)

// Options configures a Server. Zero means the default that is named.
type Options struct {
	HandshakeTimeout time.Duration // for QUIC and TLS; 10 s
	// IdleTimeout is how long nothing may come from a client's network before it is gone, if
	// its heartbeat does not tell sooner; 30 s. Half of it is how often the server asks.
	IdleTimeout time.Duration
	// MaxConnections bounds the QUIC connections, each of which is for one session;
	// 100,000. A negative number is no limit.
	MaxConnections int
	// RetryAbove is how many handshakes may be under way before clients have to prove, by an
	// answer that costs them a round trip, that their address is theirs; 128.
	RetryAbove int
	// Window bounds the bytes that are on their way from one client, or wait to be read; 1 MiB.
	Window int
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
	return d
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

const (
	// A session is one request, and one bidirectional stream in it. Those that a client opens
	// beyond that are never read, and take no more than what the windows allow.
	maxStreams = 4
	// HTTP/3 wants three unidirectional streams: control, and two of QPACK.
	maxUniStreams = 8
	// firstWindow is how much may come on a new stream, before anybody reads.
	firstWindow = 64 << 10
	// requestTimeout is how long a connection may be without a request.
	requestTimeout = 5 * time.Second
	maxHeaderBytes = 16 << 10
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = http.ErrServerClosed

// Server serves WebTransport sessions, and nothing else over HTTP/3. It is safe for
// concurrent use.
type Server struct {
	parley *parley.Server
	opts   Options
	tls    *tls.Config
	wt     wt.Server
	begun  atomic.Int64 // handshakes under way
	conns  atomic.Int64

	withdraw func() // the offer, at the end

	mu        sync.Mutex
	closed    bool
	transport *quic.Transport
	listener  *quic.Listener
	ended     chan struct{} // closed when Serve returns
}

// NewServer returns a server for clients of s, which from now on tells those that poll that they
// may upgrade to WebTransport. The configuration needs a certificate, or GetCertificate; its
// protocols and versions are QUIC's and HTTP/3's in any case.
func NewServer(s *parley.Server, c *tls.Config, o *Options) *Server {
	server := &Server{parley: s, opts: o.withDefaults(), tls: http3.ConfigureTLSConfig(c), withdraw: s.OfferWebTransport(), ended: make(chan struct{})}
	server.wt = wt.Server{
		H3: &http3.Server{
			Handler:        http.HandlerFunc(server.serve),
			MaxHeaderBytes: maxHeaderBytes,
			IdleTimeout:    requestTimeout,
			Logger:         slog.New(slog.DiscardHandler), // it is about faults of clients
			ConnContext:    withConn,
		},
		CheckOrigin: func(*http.Request) bool { return true }, // parley does, for all transports alike
	}
	return server
}

// Serve serves what comes to c until Shutdown or Close, and then returns ErrServerClosed. It
// is called once. c is not closed.
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
	// Not ListenEarly: what comes before the handshake has ended could have been replayed.
	if s.listener, err = s.transport.Listen(s.tls, s.quicConfig()); err != nil {
		s.withdraw()
	}
	return s.listener, err
}

func (s *Server) quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:             s.opts.HandshakeTimeout / 2, // which is half of what it may take
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

// beginning is the key of what a connection calls when its handshake has ended.
type beginning struct{}

var errTooMany = errors.New("webtransport: too many connections")

// connContext counts a connection, from its first packet until its context ends.
func (s *Server) connContext(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	if most := s.opts.MaxConnections; s.conns.Add(1) > int64(most) && most > 0 {
		s.conns.Add(-1)
		return nil, errTooMany
	}
	s.begun.Add(1)
	begun := sync.OnceFunc(func() { s.begun.Add(-1) })
	context.AfterFunc(ctx, func() {
		begun()
		s.conns.Add(-1)
	})
	return context.WithValue(ctx, beginning{}, begun), nil
}

// Shutdown accepts no more connections, and waits until those that are there have ended. To
// end them is up to the parley.Server: its Shutdown has to be called before, or at the same
// time. If ctx ends first Shutdown cuts what is left, as Close does, and returns ctx's error.
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

// Close ends the server, and all its connections, at once.
func (s *Server) Close() error {
	if s.stop() == nil {
		return nil
	}
	s.wt.Close()
	err := s.transport.Close()
	<-s.ended
	return err
}

// stop returns the listener that is to be closed, if Serve was called.
func (s *Server) stop() *quic.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.withdraw()
	return s.listener
}
