package http2limit_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"github.com/parley-go/parley/http2limit"
	"github.com/parley-go/parley/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves h on l, over TLS and HTTP/2.
func serve(t *testing.T, l net.Listener, h http.HandlerFunc, o *http2limit.Options) *http2limit.Limit {
	t.Helper()
	donor := httptest.NewTLSServer(nil)
	donor.Close()
	hs := &http.Server{
		Handler: h, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: donor.TLS.Certificates},
	}
	limit, err := http2limit.Configure(hs, o)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	hs.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			conns.Add(1)
		case http.StateClosed:
			conns.Done()
		}
	}
	served := make(chan error, 1)
	go func() { served <- hs.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		hs.Close()
		<-served
		conns.Wait()
	})
	return limit
}

var trusting = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}

// open begins HTTP/2 on a connection, and discards what the server sends.
func open(t *testing.T, nc net.Conn) *http2.Framer {
	t.Helper()
	c := tls.Client(nc, trusting)
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	go io.Copy(io.Discard, c)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// Whatever frames a connection sends, the server handles so many a second and no more. A connection
// within the limit is never slowed.
func TestFramesAreLimited(t *testing.T) {
	for name, write := range map[string]func(*http2.Framer) error{
		"SETTINGS":      func(f *http2.Framer) error { return f.WriteSettings() },
		"PING":          func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) },
		"PRIORITY":      func(f *http2.Framer) error { return f.WritePriority(1, http2.PriorityParam{StreamDep: 3}) },
		"WINDOW_UPDATE": func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1) },
		"unknown":       func(f *http2.Framer) error { return f.WriteRawFrame(0xbe, 0, 0, make([]byte, 300)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := wiretest.Listen()
				limit := serve(t, l, nil, &http2limit.Options{FramesPerSecond: 100, Burst: 1000})
				nc, _ := l.Dial(t.Context(), "", "")
				f := open(t, nc)
				begun := time.Now()
				send := func(n int) {
					for range n {
						if err := write(f); err != nil {
							t.Fatal(err)
						}
					}
				}
				send(900)
				if took := time.Since(begun); took > 0 || limit.Slowed() != 0 {
					t.Errorf("%d connections slowed within the limit, for %v", limit.Slowed(), took)
				}
				send(1100)
				if took := time.Since(begun); took < 9*time.Second || took > 11*time.Second {
					t.Errorf("1,000 frames more than at once took %v, want 10 s", took)
				}
				if got := limit.Slowed(); got != 1 {
					t.Errorf("%d connections slowed, want 1", got)
				}
			})
		})
	}
}

func TestExempt(t *testing.T) {
	for name, o := range map[string]http2limit.Options{
		"address":  {FramesPerSecond: 1, Burst: 1, Exempt: func(address string) bool { return address == "pipe" }},
		"no limit": {FramesPerSecond: -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := wiretest.Listen()
				limit := serve(t, l, nil, &o)
				nc, _ := l.Dial(t.Context(), "", "")
				f := open(t, nc)
				begun := time.Now()
				for range 1000 {
					if err := f.WritePing(false, [8]byte{}); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(begun); took > 0 || limit.Slowed() != 0 {
					t.Errorf("slowed for %v", took)
				}
			})
		})
	}
}

// Requests over the limit are all answered, over a real connection.
func TestNothingIsLost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limit := serve(t, l, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.TLS == nil || r.Context().Value(http.LocalAddrContextKey) == nil {
			t.Errorf("%s, TLS %v, context %v", r.Proto, r.TLS, r.Context())
		}
		io.Copy(w, r.Body)
	}, &http2limit.Options{FramesPerSecond: 20, Burst: 10})
	tr := &http.Transport{TLSClientConfig: trusting.Clone(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	body := strings.Repeat("a", 100_000)
	for range 4 { // some 40 frames
		resp, err := (&http.Client{Transport: tr}).Post("https://"+l.Addr().String(), "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != body {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if got := limit.Slowed(); got != 1 {
		t.Errorf("%d connections slowed, want 1", got)
	}
}
