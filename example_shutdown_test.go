package parley_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/parley-go/parley"
	goclient "github.com/parley-go/parley/client"
)

// A server behind a mux, with other handlers, ends gracefully: first the Socket.IO server, which
// tells its clients and waits for its handlers; then the HTTP server; then what the handlers have
// used.
func Example_gracefulShutdown() {
	srv, err := parley.New(&parley.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	srv.OnDisconnect(func(s *parley.Socket, reason parley.Reason) { fmt.Println(reason) })

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- web.Serve(srv.Listen(l)) }()

	c, err := goclient.Dial(context.Background(), "http://"+l.Addr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	// In a program, let a signal end ctx: signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM).
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Print("some clients were cut: ", err)
	}
	if err := web.Shutdown(ctx); err != nil {
		log.Print(err)
	}
	fmt.Println(errors.Is(<-ended, http.ErrServerClosed))
	// The client now reconnects, to the next server.

	// Output:
	// server shutting down
	// true
}
