package app

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/admin"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/sse"
)

// NewServer is Open with a store that the test provides.
var NewServer = newServer

var (
	WithoutPassword = withoutPassword
	Explain         = explain
)

var (
	Version   = version
	VersionOf = versionOf
)

// ExemptNobody makes the limit of TCP connections apply to all addresses. Call it before Serve.
func ExemptNobody(s *Server) { s.crowd.exempt = nil }

// CrowdRefused returns how many TCP connections were refused.
func CrowdRefused(s *Server) uint64 { return s.crowd.refused.Load() }

// CrowdSize returns the number of addresses with TCP connections.
func CrowdSize(s *Server) int {
	s.crowd.mu.Lock()
	defer s.crowd.mu.Unlock()
	return len(s.crowd.conns)
}

// SetStoreTimeout returns a function that restores the old value.
func SetStoreTimeout(d time.Duration) (undo func()) {
	old := storeTimeout
	storeTimeout = d
	return func() { storeTimeout = old }
}

// SetBodyTimeout returns a function that restores the old value.
func SetBodyTimeout(d time.Duration) (undo func()) {
	old := bodyTimeout
	bodyTimeout = d
	return func() { bodyTimeout = old }
}

// SetReachFor returns a function that restores the old value.
func SetReachFor(d time.Duration) (undo func()) {
	old := reachFor
	reachFor = d
	return func() { reachFor = old }
}

// SetAnswerTimeout returns a function that restores the old value.
func SetAnswerTimeout(d time.Duration) (undo func()) {
	old := answerTimeout
	answerTimeout = d
	return func() { answerTimeout = old }
}

// Metrics returns all metrics of s, each as prometheus.Desc describes it.
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

// MetricsHandler serves metrics.
func MetricsHandler(r *prometheus.Registry) http.Handler { return metricsHandler(r) }

// Append sends a message to a room without any connected client.
func Append(s *Server, d history.Draft) error {
	_, err := s.history.Append(context.Background(), d)
	return err
}

// SlowConsumers returns how many connections were ended because the client was too far behind.
func SlowConsumers(s *Server) uint64 { return s.sockets.Stats().SlowConsumers }

// FeedStats returns the statistics of the feeds.
func FeedStats(s *Server) sse.Stats { return s.feeds.Stats() }

// SmallBufferOfStreams is the wrapper with which the server serves sockets.
func SmallBufferOfStreams(sockets http.Handler) http.Handler { return smallBufferOfStreams(sockets) }

// WithConn returns the context for the requests of a connection.
func WithConn(ctx context.Context, c net.Conn) context.Context { return withConn(ctx, c) }

// HTTPLog returns the logger of net/http, writing to l.
func HTTPLog(l *slog.Logger) *log.Logger { return log.New(httpLog{l}, "", 0) }

// Budgets returns the limits of the conversations.
func Budgets(c Config) budget.Limits { return c.budgets() }

// Options returns the options of the Socket.IO server.
func Options(c Config) *parley.Options { return c.options(slog.New(slog.DiscardHandler)) }

// LimitRequests limits how many requests the clients of an address may make.
func LimitRequests(c Config, next http.Handler) http.Handler {
	return c.newRequests(func(string) {}).guard(next)
}

// AllowsHost reports whether a server with the configuration that listens on a answers a request for
// the host.
func AllowsHost(c Config, a net.Addr, host string) bool {
	return (&Server{config: c}).hostsOn(a).allow(host)
}

// Logger returns the logger of a server with the configuration.
func Logger(c Config, w io.Writer) *slog.Logger { return c.logger(w) }

// MostQueued returns the bytes that are queued for the socket with most of them.
func MostQueued(s *Server) (most int) {
	ids, _ := s.sockets.SocketIDs(context.Background())
	for _, id := range ids {
		if socket := s.sockets.Socket(id); socket != nil {
			most = max(most, socket.Stats().OutboxBytes)
		}
	}
	return most
}

// Behind returns how many subscriptions are behind.
func Behind(s *Server) int { return s.history.Behind() }

// LogBytes returns the size of the store's write-ahead log.
func LogBytes(s *Server) (int64, error) {
	_, log, err := s.store.(files).Sizes()
	return log, err
}

// Access returns who has access to a server.
func Access(s *Server) *access.Access { return s.gate.access }

// Admin returns a client of the calls that a server answers to commands.
func Admin(s *Server) *admin.Client { return admin.Local(s.newControl().Handler) }

// SetVerifier makes a server verify tokens with v. Call it before clients come.
func SetVerifier(s *Server, v *jwtauth.Verifier) {
	s.gate.tokens.Close()
	s.gate.tokens = v
}

// Routes returns the handler of all requests.
func Routes(s *Server) http.Handler { return s.routes }

// Epoch returns the epoch of a server's store.
func Epoch(s *Server) string { return s.store.Epoch() }

// CommandNames returns the names of all commands.
func CommandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

// PrintableJSON returns a writer that escapes what could control a terminal.
func PrintableJSON(w io.Writer) io.Writer { return &printableJSON{w: w} }

// ForClients converts an error of a gate to what clients of Socket.IO see.
var ForClients = forClients

// Banner returns what a server says when it starts.
func Banner(s *Server, p *Ports) string { return s.banner(p) }

// A Printed says what a command prints with --json.
type Printed struct {
	Type  reflect.Type
	Lines bool
}

// Prints returns what each command with --json prints.
func Prints() map[string]Printed {
	all := make(map[string]Printed)
	for _, c := range commands() {
		if c.setup == nil {
			continue
		}
		own := &call{flags: newFlags()}
		c.setup(own)
		if own.flags.Lookup("json") != nil {
			all[c.name] = Printed{reflect.TypeOf(c.prints), c.lines}
		}
	}
	return all
}

// Shape describes the JSON of a type.
var Shape = shape
