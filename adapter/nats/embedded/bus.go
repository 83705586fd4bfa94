// Package embedded connects the servers of a cluster without any other server: each of them runs a server of
// NATS in its process, and these connect with each other. There is no JetStream and no disk. Only programs
// that import this package link the server.
//
// Each server has to know the address of one other, at least; they tell each other of the rest. A message
// goes directly to each server that listens, and to no other.
package embedded

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
	"github.com/parley-go/parley/adapter/nats/internal/pubsub"
)

// Options configure New.
type Options struct {
	// Addr is where the other servers connect, as host:port. The default is ":6222". Port 0 is any free one.
	Addr string

	// Advertise is the address that other servers are told, as host:port. The default is Addr; if that has
	// no host, the addresses of this machine.
	Advertise string

	// Peers are addresses of servers of the cluster, as host:port; the default port is 6222. This server
	// may be among them. One that is there suffices, but nobody knows which one will be.
	Peers []string

	// Secret is the same on all servers of the cluster, and known to nobody else. It is required.
	Secret string

	// TLS encrypts the connections between servers. Each server shows its certificate, also to the
	// servers that it connects to; ClientAuth, ClientCAs and RootCAs say what they check. Nil: no TLS.
	TLS *tls.Config

	// MaxQueue is how many bytes may wait to be sent; 8 MiB. Beyond that, Publish returns
	// adapter.ErrFull.
	MaxQueue int

	// MaxAge is how long a message may wait to be sent; 5 s. Older ones are dropped, which the other
	// servers learn.
	MaxAge time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

const (
	maxMessage = 8 << 20
	joinTime   = 2 * time.Second        // for the connections to the peers
	pollTime   = 250 * time.Millisecond // between looks at the connections
	pingTime   = 2 * time.Second        // a connection is lost if two pings are not answered
	retries    = 600                    // once a second, for servers that others have told of
	reports    = 3600                   // of so many attempts to connect with a server, the log has one
)

// Bus is an adapter.Bus between servers of NATS in the processes.
type Bus struct {
	*pubsub.Bus
	server *server.Server
	done   chan struct{}
	closed func()
	ended  sync.WaitGroup
}

// ErrAddr is wrapped by the error of New if the server cannot listen at Options.Addr.
var ErrAddr = errors.New("embedded: servers cannot connect")

// New starts the server. It returns when that has connected with all of Peers and with those that they know,
// or after some seconds.
func New(o *Options) (*Bus, error) {
	if o == nil || o.Secret == "" {
		return nil, errors.New("embedded: the servers need a common secret")
	}
	host, port, err := split(cmp.Or(o.Addr, ":6222"))
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	mac := hmac.New(sha256.New, []byte(o.Secret))
	mac.Write([]byte("parley: routes of NATS"))
	route := url.UserPassword("parley", base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	password, _ := route.Password()
	own := rand.Text()
	opts := &server.Options{
		// DontListen would close the port for other servers, too.
		Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "parley", Password: own,
		MaxPayload: maxMessage, NoSigs: true, NoLog: true, NoSystemAccount: true,
		ConnectErrorReports: reports, ReconnectErrorReports: reports,
		Cluster: server.ClusterOpts{
			Name: "parley", Host: host, Port: port, Advertise: o.Advertise,
			Username: route.Username(), Password: password,
			// With one connection between two servers, messages keep their order with subscriptions.
			PoolSize: -1, Compression: server.CompressionOpts{Mode: server.CompressionOff},
			PingInterval: pingTime, MaxPingsOut: 2, ConnectRetries: retries,
		},
	}
	if o.TLS != nil {
		opts.Cluster.TLSConfig, opts.Cluster.TLSTimeout = o.TLS, joinTime.Seconds()
	}
	for _, peer := range o.Peers {
		host, port, err := split(peer)
		if err != nil {
			return nil, err
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", User: route, Host: net.JoinHostPort(host, strconv.Itoa(port))})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	s.SetLogger(logger{log}, log.Enabled(context.Background(), slog.LevelDebug), false)
	b := &Bus{server: s, done: make(chan struct{})}
	b.closed = sync.OnceFunc(func() { close(b.done) })
	s.Start()
	if !s.ReadyForConnections(joinTime) || s.ClusterAddr() == nil {
		b.stop()
		return nil, fmt.Errorf("%w to %s", ErrAddr, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	b.join(opts.Routes)
	b.Bus, err = pubsub.New("", pubsub.Options{
		Options: driver.Options{MaxQueue: o.MaxQueue, MaxAge: o.MaxAge, Logger: log},
		Connect: []nats.Option{nats.InProcessServer(s), nats.UserInfo("parley", own)},
		Routes:  b.routes,
	})
	if err != nil {
		b.stop()
		return nil, err
	}
	select {
	case <-b.Active():
	case <-time.After(2 * joinTime): // it goes on
	}
	b.ended.Go(b.watch)
	return b, nil
}

// split returns the parts of an address.
func split(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		host, text = addr, "6222"
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || len(host) > 255 {
		return "", 0, fmt.Errorf("embedded: %q is not an address such as host:6222", addr)
	}
	return host, int(n), nil
}

// Addr returns the address where other servers connect.
func (b *Bus) Addr() string { return b.server.ClusterAddr().String() }

// Servers returns how many other servers are connected.
func (b *Bus) Servers() int { return len(b.routes()) }

// Close implements adapter.Bus.
func (b *Bus) Close() error {
	err := b.Bus.Close()
	b.stop()
	return err
}

func (b *Bus) stop() {
	b.closed()
	b.ended.Wait()
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// join waits until the peers are connected, or for joinTime.
func (b *Bus) join(peers []*url.URL) {
	others := 0
	for _, peer := range peers {
		if !b.isSelf(peer) {
			others++
		}
	}
	for end := time.Now().Add(joinTime); len(b.routes()) < others && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// isSelf reports whether an address is this server's.
func (b *Bus) isSelf(peer *url.URL) bool {
	if peer.Port() != strconv.Itoa(b.server.ClusterAddr().Port) {
		return false
	}
	addrs, err := net.LookupHost(peer.Hostname())
	if err != nil {
		return false
	}
	local, _ := net.InterfaceAddrs()
	for _, a := range local {
		for _, addr := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(net.ParseIP(addr)) {
				return true
			}
		}
	}
	return false
}

// routes returns the ids of the servers that are connected.
func (b *Bus) routes() (ids []string) {
	for id := range b.connections() {
		ids = append(ids, id)
	}
	return ids
}

// connections returns the number of the connection to each server.
func (b *Bus) connections() map[string]uint64 {
	all := map[string]uint64{}
	z, err := b.server.Routez(nil)
	if err != nil {
		return all
	}
	for _, r := range z.Routes {
		all[r.RemoteID] = r.Rid
	}
	return all
}

// maxSeen bounds how many servers are remembered.
const maxSeen = 1000

// watch finds connections that were lost and are back: what was sent meanwhile did not arrive. Of a server
// that does not come back, nothing is missing but what it could not send.
func (b *Bus) watch() {
	seen := b.connections()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		select {
		case <-b.done:
			return
		case <-tick.C:
		}
		now := b.connections()
		lost := false
		for id, number := range now {
			before, known := seen[id]
			lost = lost || known && before != number
		}
		if len(seen) > maxSeen {
			clear(seen)
		}
		for id, number := range now {
			seen[id] = number
		}
		if lost {
			b.Lost()
		}
	}
}

// logger passes on what the server logs.
type logger struct{ log *slog.Logger }

func (l logger) say(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "the embedded server of NATS", "says", fmt.Sprintf(format, v...))
}

// Noticef implements server.Logger, as do the others.
func (l logger) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l logger) Errorf(format string, v ...any)  { l.say(slog.LevelWarn, format, v) }
func (l logger) Fatalf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l logger) Debugf(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l logger) Tracef(string, ...any)           {}

func (l logger) Warnf(format string, v ...any) {
	level := slog.LevelWarn
	if strings.HasPrefix(format, "Plaintext passwords detected") {
		level = slog.LevelDebug // they are made here, and in no file
	}
	l.say(level, format, v)
}

var _ adapter.Bus = (*Bus)(nil)
