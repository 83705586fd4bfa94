// Command cluster-with-node is a Socket.IO server that forms a cluster with the one in server.mjs, which
// does the same on Node.js. README.md says how to run them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter/redis/nodewire"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3002", "address to listen on")
	redis := flag.String("redis", "redis://127.0.0.1:6379", "URL of Redis")
	flag.Parse()
	if err := run(*addr, *redis); err != nil {
		log.Fatal(err)
	}
}

func run(addr, redis string) error {
	options, err := rueidis.ParseURL(redis)
	if err != nil {
		return err
	}
	// It speaks the wire of createAdapter of @socket.io/redis-adapter.
	cluster, err := nodewire.Classic(options, nil)
	if err != nil {
		return err
	}
	srv, err := parley.New(&parley.Options{Cluster: cluster})
	if err != nil {
		return err
	}

	srv.OnConnection(func(s *parley.Socket) { s.Join("lobby") })
	srv.On("say", func(p *parley.Packet) error {
		var text string
		if err := p.Decode(&text); err != nil {
			return err
		}
		return srv.To("lobby").Emit("said", text, "Go") // reaches the sockets of both servers
	})

	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(stop, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	})
	if err := srv.Serve(l); err != parley.ErrServerClosed {
		return err
	}
	return nil
}
