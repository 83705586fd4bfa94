package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	echo        = parley.Event[json.RawMessage]("echo")
	ackMe       = parley.RPC[json.RawMessage, json.RawMessage]("ackme")
	joinRoom    = parley.RPC[inRoom, bool]("joinRoom")
	sendMessage = parley.Event[inRoom]("sendMessage")
	newMessage  = parley.Event[json.RawMessage]("newMessage")
)

type inRoom struct {
	RoomID  string          `json:"roomId"`
	Message json.RawMessage `json:"message"`
}

// application serves the application that "parley help bench" describes. It calls before at each
// echo, and answers only if before returns true.
func application(t *testing.T, namespace string, before func() bool) (url string) {
	t.Helper()
	srv, err := parley.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := srv.Of(namespace)
	parley.On(h, echo, func(_ context.Context, s *parley.Socket, v json.RawMessage) error {
		if before != nil && !before() {
			return nil
		}
		return echo.Emit(s, v)
	})
	parley.Handle(h, ackMe, func(_ context.Context, _ *parley.Socket, v json.RawMessage) (json.RawMessage, error) {
		return v, nil
	})
	parley.Handle(h, joinRoom, func(_ context.Context, s *parley.Socket, in inRoom) (bool, error) {
		return true, s.Join(in.RoomID)
	})
	parley.On(h, sendMessage, func(_ context.Context, _ *parley.Socket, in inRoom) error {
		return newMessage.Emit(srv.Of(namespace).To(in.RoomID), in.Message)
	})
	return serve(t, srv, func() { srv.Shutdown(context.Background()) })
}

// serve serves until the test ends.
func serve(t *testing.T, h http.Handler, shutdown func()) (url string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		if shutdown != nil {
			shutdown()
		}
		s.Close()
	})
	return s.URL
}

// binary runs the parley binary's server in memory, without budgets.
func binary(t *testing.T) (url string) {
	t.Helper()
	return binaryWith(t, 0, 0)
}

// binaryWith runs the parley binary's server in memory, with these budgets.
func binaryWith(t *testing.T, eventsPerSecond float64, bytesPerSecond int64) (url string) {
	t.Helper()
	c := app.Defaults()
	c.Data = "memory"
	c.EventsPerSecond, c.BytesPerSecond = eventsPerSecond, bytesPerSecond
	s, err := app.Open(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, &app.Ports{Main: l}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

// command runs the command.
func command(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errors bytes.Buffer
	code = bench.Main(ctx, args, &out, &errors)
	return code, out.String(), errors.String()
}

// measure runs the command with --json and returns the report and the exit code.
func measure(t *testing.T, ctx context.Context, args ...string) (r bench.Report, code int) {
	t.Helper()
	var out bytes.Buffer
	code = bench.Main(ctx, append([]string{"--json"}, args...), &out, io.Discard)
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("exit code %d, and the output is no report: %v", code, err)
	}
	return r, code
}
