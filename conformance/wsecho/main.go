// Wsecho is a WebSocket echo server for conformance suites. It sends every message back unchanged
// and supports all of permessage-deflate.
//
// Usage:
//
//	wsecho PORT
//
// It listens on 127.0.0.1:PORT, or on the full address if you give one. It accepts every origin. It is
// a test peer, not an example.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// limits allow the largest messages of the known suites, which have 16 MiB, and the messages with the
// most fragments, which have 4 MiB in 65,536 fragments.
var limits = &ws.ParserConfig{MaxMessage: 64 << 20, MaxFragments: -1}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wsecho PORT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "wsecho:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	if !strings.Contains(address, ":") {
		address = "127.0.0.1:" + address
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("wsecho: listening on ws://%s\n", ln.Addr())
	srv := &http.Server{Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 10 * time.Second}
	return srv.Serve(ln)
}

func serve(w http.ResponseWriter, r *http.Request) {
	a, err := ws.Accept(r, &ws.AcceptOptions{
		CheckOrigin: func(*http.Request) bool { return true },
		Compression: &ws.Compression{Threshold: -1},
	})
	if refused := (*ws.HandshakeError)(nil); errors.As(err, &refused) {
		refused.Respond(w)
		return
	}
	c, err := ws.Upgrade(w, a, limits)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.CloseNow()
	for ctx := context.Background(); ; {
		op, payload, err := c.ReadMessage(ctx)
		if err != nil {
			return
		}
		if c.WriteMessage(ctx, op, payload) != nil {
			return
		}
	}
}
