// Command server is a server for tests of clients. It serves the application of package app with the
// library. It listens on 127.0.0.1 and the given port (0: any), prints its address, and shuts down
// gracefully on SIGTERM.
//
// With -webtransport it uses TLS and also serves WebTransport. It then prints the hash of its
// certificate before the address.
package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/conformance/app"
	"github.com/parley-go/parley/internal/certs"
	"github.com/parley-go/parley/webtransport"
)

var (
	port           = flag.Int("port", 0, "port to listen on")
	recovery       = flag.Duration("recovery", 0, "how long clients may be disconnected and still be recovered")
	msgpack        = flag.Bool("msgpack", false, "speak msgpack instead of JSON")
	pingInterval   = flag.Duration("ping-interval", 25*time.Second, "heartbeat interval")
	pingTimeout    = flag.Duration("ping-timeout", 20*time.Second, "heartbeat timeout")
	connectTimeout = flag.Duration("connect-timeout", 45*time.Second, "time to join a namespace")
	legacy         = flag.Bool("legacy", false, "allow Engine.IO 3 and JSONP")
	compression    = flag.Bool("compression", false, "allow permessage-deflate")
	overQUIC       = flag.Bool("webtransport", false, "serve TLS and WebTransport")
	maxConnections = flag.Int("max-connections", 0, "maximum number of connections")
	deny           = flag.Bool("deny", false, "refuse all handshakes with AllowRequest")
	proxy          = flag.String("proxy", "", "address of a trusted proxy")
	behindMux      = flag.Bool("mux", false, "serve with the standard mux, as in the README")
	nodes          = flag.Int("nodes", 0, "serve so many servers of a cluster; -port does not apply")
	origins        = flag.String("origins", "*", "origins that may connect, separated by commas")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	o := &parley.Options{
		PingInterval: *pingInterval, PingTimeout: *pingTimeout, ConnectTimeout: *connectTimeout,
		AllowEIO3: *legacy, JSONP: *legacy,
		CORS: parley.CORS{Origins: strings.Split(*origins, ","), Credentials: *origins != "*"},
	}
	o.MaxConnections = *maxConnections
	if *deny {
		o.AllowRequest = func(*http.Request) error { return &parley.ConnectError{Message: "no"} }
	}
	if *proxy != "" {
		network, err := netip.MustParseAddr(*proxy).Prefix(32)
		if err != nil {
			log.Fatal(err)
		}
		o.ClientAddress, o.ClientSecure = parley.ForwardedFor(network), parley.ForwardedProto(network)
	}
	if *recovery > 0 {
		o.Recovery = &parley.Recovery{MaxDisconnection: *recovery}
	}
	if *msgpack {
		o.Parser = parley.ParserMsgpack
	}
	if *compression {
		o.Compression = &parley.Compression{}
	}
	if *nodes > 0 {
		serveCluster(o, *nodes)
		return
	}
	srv, err := app.New(o)
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	var quic *webtransport.Server
	if *overQUIC {
		if quic, err = serveQUIC(srv, l); err != nil {
			log.Fatal(err)
		}
	} else {
		fmt.Printf("http://%s\n", l.Addr())
		serve := srv.Serve
		if *behindMux {
			http.Handle("/socket.io/", srv)
			http.Handle("/socket.io", srv)
			serve = (&http.Server{}).Serve
		}
		go func() {
			if err := serve(l); err != parley.ErrServerClosed {
				log.Fatal(err)
			}
		}()
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	<-stop.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	if quic != nil {
		if err := quic.Shutdown(ctx); err != nil {
			log.Fatal(err)
		}
	}
}

// serveQUIC serves TLS on l, and WebTransport on the UDP port with the same number.
func serveQUIC(srv *parley.Server, l net.Listener) (*webtransport.Server, error) {
	source, err := certs.NewSelfSigned("", slog.Default())
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	hash := source.Hash()
	fmt.Printf("%s\nhttps://%s\n", base64.StdEncoding.EncodeToString(hash[:]), l.Addr())
	quic := webtransport.NewServer(srv, certs.Config(source), nil)
	go func() {
		if err := quic.Serve(udp); err != webtransport.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	go func() {
		log.Fatal((&http.Server{Handler: srv, TLSConfig: certs.Config(source)}).ServeTLS(srv.Listen(l), "", ""))
	}()
	return quic, nil
}
