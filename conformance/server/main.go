// Command server is a server on the library for clients to be tried against. It listens on
// 127.0.0.1 and the port given (0: any), prints its address, and shuts down gracefully on
// SIGTERM. What it serves is said in package app.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/conformance/app"
)

var (
	port           = flag.Int("port", 0, "port to listen on")
	recovery       = flag.Duration("recovery", 0, "how long clients may be away and be recovered")
	msgpack        = flag.Bool("msgpack", false, "speak msgpack instead of JSON")
	pingInterval   = flag.Duration("ping-interval", 25*time.Second, "heartbeat interval")
	pingTimeout    = flag.Duration("ping-timeout", 20*time.Second, "heartbeat timeout")
	connectTimeout = flag.Duration("connect-timeout", 45*time.Second, "time to join a namespace")
	legacy         = flag.Bool("legacy", false, "allow Engine.IO 3 and JSONP")
	compression    = flag.Bool("compression", false, "allow permessage-deflate")
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
	if *recovery > 0 {
		o.Recovery = &parley.Recovery{MaxDisconnection: *recovery}
	}
	if *msgpack {
		o.Parser = parley.ParserMsgpack
	}
	if *compression {
		o.Compression = &parley.Compression{}
	}
	srv, err := app.New(o)
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	go func() {
		if err := srv.Serve(l); err != parley.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	<-stop.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
