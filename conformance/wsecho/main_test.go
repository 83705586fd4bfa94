package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServe(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(serve))
	defer srv.Close()
	ctx := t.Context()
	c, resp, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), &ws.DialOptions{
		Header:      http.Header{"Origin": {"http://elsewhere.example"}},
		Compression: &ws.Compression{ServerMaxWindowBits: 9},
		Parser:      limits,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != "permessage-deflate; server_max_window_bits=9" {
		t.Errorf("agreed on %q", got)
	}
	for _, want := range [][]byte{nil, []byte("\x00\xff"), bytes.Repeat([]byte("16 MiB\r\n"), 2<<20)} {
		go c.WriteMessage(ctx, ws.OpBinary, want)
		op, got, err := c.ReadMessage(ctx)
		if err != nil || op != ws.OpBinary || !bytes.Equal(got, want) {
			t.Errorf("echo of %d bytes: opcode %d, %d bytes, %v", len(want), op, len(got), err)
		}
	}
	if err := c.Close(ws.CloseNormal, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(serve))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status %d, want 426", resp.StatusCode)
	}
}

func TestRunNeedsAnAddress(t *testing.T) {
	for _, address := range []string{"port", "127.0.0.1:port"} {
		if err := run(address); err == nil {
			t.Errorf("listening on %q", address)
		}
	}
}
