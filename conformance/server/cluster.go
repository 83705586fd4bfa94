package main

import (
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/conformance/app"
)

// serveCluster serves n servers of a cluster, which pass requests on to each other, until SIGTERM. It
// prints the address and the tag of each. A server's counters are at /stats.
func serveCluster(o *parley.Options, n int) {
	network := adapter.NewMemory()
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for i := range n {
		internal, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		public, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		cluster, err := adapter.New(network.Connect(), &adapter.Options{Name: fmt.Sprintf("node-%d", i+1), Address: internal.Addr().String(), Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		own := *o
		own.Cluster, own.ClusterSecret = cluster, "only for conformance tests"
		srv, err := app.New(&own)
		if err != nil {
			log.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", srv)
		mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(srv.Stats()) })
		mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
		go func() { log.Fatal(srv.ServePeers(internal)) }()
		go func() { log.Fatal(http.Serve(srv.Listen(public), mux)) }()
		fmt.Printf("http://%s %s\n", public.Addr(), cluster.Self().Tag)
	}
	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
}
