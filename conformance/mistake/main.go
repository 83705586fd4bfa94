// Command mistake is a server with one mistake in it, whose symptoms docs/troubleshooting.md explains.
package main

import (
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/parley-go/parley"
)

// mistakes are what people do around the server, by name.
var mistakes = map[string]func(*parley.Server) http.Handler{
	"none": func(s *parley.Server) http.Handler { return s },
	// A ResponseWriter that hides what the one within it can do.
	"wrapper": func(s *parley.Server) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.ServeHTTP(struct{ http.ResponseWriter }{w}, r) })
	},
	"timeout": func(s *parley.Server) http.Handler { return http.TimeoutHandler(s, 2*time.Second, "too slow") },
	"prefix":  func(s *parley.Server) http.Handler { return http.StripPrefix("/socket.io", s) },
	"method": func(s *parley.Server) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("GET /socket.io/", s)
		return mux
	},
	"slash": func(s *parley.Server) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", s)
		return mux
	},
}

func main() {
	name := flag.String("mistake", "none", "which one")
	small := flag.Int64("max-payload", 0, "Options.MaxPayload")
	flag.Parse()
	log.SetFlags(0)
	slog.SetLogLoggerLevel(slog.LevelInfo)
	srv, err := parley.New(&parley.Options{MaxPayload: *small, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		log.Fatal(err)
	}
	srv.On("sum", func(p *parley.Packet) error {
		var a, b int
		if err := p.Decode(&a, &b); err != nil {
			return err
		}
		return p.Ack(a + b)
	})
	srv.On("fail", func(p *parley.Packet) error { return fmt.Errorf("the database is away") })
	srv.On("slow", func(p *parley.Packet) error {
		time.Sleep(time.Second)
		return p.Ack("slow")
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	log.Fatal(http.Serve(l, mistakes[*name](srv)))
}
