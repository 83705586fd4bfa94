package app

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/sse"
)

// NewServer is Open with a store of the test's.
var NewServer = newServer

// SetStoreTimeout returns how to undo it.
func SetStoreTimeout(d time.Duration) (undo func()) {
	old := storeTimeout
	storeTimeout = d
	return func() { storeTimeout = old }
}

// SetBodyTimeout returns how to undo it.
func SetBodyTimeout(d time.Duration) (undo func()) {
	old := bodyTimeout
	bodyTimeout = d
	return func() { bodyTimeout = old }
}

// SetAnswerTimeout returns how to undo it.
func SetAnswerTimeout(d time.Duration) (undo func()) {
	old := answerTimeout
	answerTimeout = d
	return func() { answerTimeout = old }
}

// Metrics are all that s has, each as prometheus.Desc describes it.
func Metrics(s *Server) (descriptions []string) {
	ch := make(chan *prometheus.Desc)
	go func() {
		defer close(ch)
		s.newRegistry().Describe(ch)
	}()
	for d := range ch {
		descriptions = append(descriptions, d.String())
	}
	return descriptions
}

// Append has a message sent in a room by nobody who is connected.
func Append(s *Server, d history.Draft) error {
	_, err := s.history.Append(context.Background(), d)
	return err
}

// SlowConsumers is how many connections were ended since their client was too far behind.
func SlowConsumers(s *Server) uint64 { return s.sockets.Stats().SlowConsumers }

// FeedStats are those of the feeds.
func FeedStats(s *Server) sse.Stats { return s.feeds.Stats() }

// SmallBufferOfStreams is what sockets are served with.
func SmallBufferOfStreams(sockets http.Handler) http.Handler { return smallBufferOfStreams(sockets) }

// WithConn returns the context of a connection's requests.
func WithConn(ctx context.Context, c net.Conn) context.Context { return withConn(ctx, c) }

// HTTPLog returns the logger of net/http, which writes to l.
func HTTPLog(l *slog.Logger) *log.Logger { return log.New(httpLog{l}, "", 0) }
