// Command chi-prometheus-slog is a Socket.IO server beside other routes of chi, with metrics for Prometheus and a structured
// log: http://127.0.0.1:3000.
package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/metrics"
)

// Greet is answered with a greeting.
const Greet = parley.RPC[string, string]("greet")

// requestID is that of the request that opened a connection.
var requestID = parley.NewKey[string]()

func newServer(log *slog.Logger) (*parley.Server, error) {
	srv, err := parley.New(&parley.Options{
		Logger: log,
		// What middleware has found out about the request is kept for the sockets of the connection.
		ConnContext: func(ctx context.Context, r *http.Request) context.Context {
			return requestID.With(ctx, middleware.GetReqID(r.Context()))
		},
	})
	if err != nil {
		return nil, err
	}
	parley.Handle(srv, Greet, func(ctx context.Context, s *parley.Socket, name string) (string, error) {
		log.Info("greeted", "socket", s.ID(), "request", requestID.Get(ctx))
		return "Hello, " + name + "!", nil
	})
	return srv, nil
}

func routes(srv *parley.Server, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.New(srv.Stats), collectors.NewGoCollector())

	r := chi.NewRouter()
	r.Use(middleware.RequestID, logged(log), middleware.Recoverer)
	r.Handle("/socket.io/*", srv)
	r.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	r.Group(func(r chi.Router) {
		r.Use(middleware.Timeout(5 * time.Second)) // not around the server: it would end sessions
		r.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		r.Get("/healthz", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok\n")) })
	})
	return r
}

// logged logs each request at its end. Of a WebSocket, that is when the client has gone.
func logged(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen := middleware.NewWrapResponseWriter(w, r.ProtoMajor) // it has Unwrap, which WebSockets need
			began := time.Now()
			defer func() {
				log.Debug("request", "id", middleware.GetReqID(r.Context()), "method", r.Method, "path", r.URL.Path,
					"status", seen.Status(), "took", time.Since(began).Round(time.Millisecond))
			}()
			next.ServeHTTP(seen, r)
		})
	}
}

func main() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv, err := newServer(logger)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger.Info("http://127.0.0.1:3000")
	if err := srv.Run(ctx, &http.Server{Addr: "127.0.0.1:3000", Handler: routes(srv, logger)}); err != nil {
		log.Fatal(err)
	}
}
