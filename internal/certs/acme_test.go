package certs_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/certs"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

const name = "chat.parley.test"

func run(t *testing.T, s certs.Source) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func TestACMEFails(t *testing.T) {
	if _, err := certs.NewACME(certs.ACMEOptions{RootFile: newPair(t).key}, slog.Default()); err == nil || !strings.Contains(err.Error(), "has no certificate") {
		t.Errorf("roots: %v", err)
	}
	l := listen(t) // accepts connections but never answers
	source, err := certs.NewACME(certs.ACMEOptions{Names: []string{name}, Dir: t.TempDir(), Directory: "https://" + l.Addr().String()}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, source)
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	stop() // does not wait for the authority
	nc.Close()
	if s := source.Stats(); s.Loaded != 0 || !s.Expires.IsZero() {
		t.Errorf("stats %+v", s)
	}
}

// After a success the retry delay starts again at its shortest.
func TestACMERetriesSoonAfterASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		a, err := certs.NewACME(certs.ACMEOptions{Names: []string{name}, Dir: dir, Directory: "http://127.0.0.1:1/"}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, a)
		time.Sleep(6 * time.Hour) // no authority answers
		cert, key := newCertificate(t, name, 20*24*time.Hour)
		if err := os.WriteFile(filepath.Join(dir, name), append(key, cert...), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(19 * 24 * time.Hour)
		stop()
		retries := regexp.MustCompile("next_attempt=([0-9hms]+)").FindAllStringSubmatch(log.String(), -1)
		var got []string
		for _, r := range retries[:min(len(retries), 12)] {
			got = append(got, r[1])
		}
		// No authority for six hours; later none to renew the certificate.
		if want := "1m0s 2m0s 4m0s 8m0s 16m0s 32m0s 1h0m0s 1h0m0s 1h0m0s 1h0m0s 1h0m0s 1m0s"; strings.Join(got, " ") != want {
			t.Errorf("retries after %v, want %s\n%.3000s", got, want, &log)
		}
	})
}
