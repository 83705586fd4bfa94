package main

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/parley-go/parley/parleytest"
)

func TestRoutes(t *testing.T) {
	var lines strings.Builder
	log := slog.New(slog.NewTextHandler(&lines, nil))
	srv, err := newServer(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	s := parleytest.NewServer(t, routes(srv, log))
	ann, bob := s.MustDial(), s.MustDial(parleytest.Polling()) // through all of the middleware
	for _, c := range []*parleytest.Client{ann, bob} {
		if text := parleytest.MustCall(c, Greet, "Ann"); text != "Hello, Ann!" {
			t.Errorf("greeted with %q", text)
		}
	}
	if !strings.Contains(lines.String(), "request=") {
		t.Errorf("the log does not say which request it was:\n%s", &lines)
	}
	resp, err := s.HTTP().Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(text), "\nparley_sockets 2\n") {
		t.Errorf("metrics: %v\n%s", err, text)
	}
}
