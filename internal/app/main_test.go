package app_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/app/apptest"
	"github.com/parley-go/parley/internal/postgrestest"
)

// asServer makes the test binary act as the parley binary, for tests that kill it.
const asServer = "BE_PARLEY"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PARLEY_SOAK=") })
		os.Exit(app.Main(ctx, os.Args[1:], environ, os.Stdin, os.Stdout, os.Stderr))
	}
	if n, err := strconv.Atoi(os.Getenv(asClients)); err == nil {
		if err := holdClients(os.Args[1], os.Args[2], n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(postgrestest.Main(m), goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1")) // ends within a second
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// instance is a running server.
type instance struct {
	url  string
	stop func() error // shuts down; call it once
}

// testConfig returns the defaults for an in-memory server without rate limits.
func testConfig() app.Config {
	c := app.Defaults()
	c.Data = "memory"
	c.EventsPerSecond, c.BytesPerSecond = 0, 0
	return c
}

// start runs a server until the test ends.
func start(t *testing.T, c app.Config) *instance {
	t.Helper()
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}

// startOn runs a server on a store.
func startOn(t *testing.T, c app.Config, store history.Store) *instance {
	t.Helper()
	s, err := app.NewServer(c, quiet, store)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}

func run(t *testing.T, s *app.Server) *instance {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return runOn(t, s, &app.Ports{Main: l})
}

// runOn runs a server on these ports.
func runOn(t *testing.T, s *app.Server, p *app.Ports) *instance {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, p) }()
	i := &instance{url: "http://" + p.Main.Addr().String()}
	var result error
	stopped := false
	i.stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-ended
		}
		return result
	}
	t.Cleanup(func() {
		if err := i.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return i
}

// waitFor waits until cond holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); !cond(); <-tick.C {
		if time.Since(start) > 2*time.Minute {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (i *instance) dial(t *testing.T) *apptest.Peer {
	t.Helper()
	return apptest.Dial(t, i.url)
}

// The payloads, as clients see them.

type message struct {
	ID         string
	RoomID     string
	Seq        int64
	UserID     string
	OperatorID string
	Message    any
	Timestamp  string
	ClientID   string
}

type member struct{ ID, UserID, OperatorID, Name string }

// refusal is the content of an error event, and of "error" in an acknowledgement.
type refusal struct{ Code, Message, Event string }

// answer is the acknowledgement of any event except sendMessage.
type answer struct {
	Error    refusal
	RoomID   string
	Messages []message
	HasMore  bool
	LastSeq  int64
	Epoch    string
	Reset    bool
	Member   member
	Members  []member
	Count    int
}

type presence struct {
	RoomID string
	Type   string
	Member member
	Count  int
}

type object = map[string]any

func join(t *testing.T, p *apptest.Peer, request object) answer {
	t.Helper()
	var a answer
	p.Ask("joinRoom", request, &a)
	if a.Error.Code != "" {
		t.Fatalf("joinRoom %v: %s: %s", request, a.Error.Code, a.Error.Message)
	}
	return a
}

func send(t *testing.T, p *apptest.Peer, request object) message {
	t.Helper()
	var stored struct {
		message
		Error refusal
	}
	p.Ask("sendMessage", request, &stored)
	if stored.Error.Code != "" {
		t.Fatalf("sendMessage %v: %s", request, stored.Error.Code)
	}
	return stored.message
}

// shortDir returns a directory whose path is short enough for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "parley")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
