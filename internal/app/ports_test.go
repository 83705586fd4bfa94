//go:build unix

package app_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/ws"
)

// Everything is served over a Unix socket. Only the user and the group may use it, and it is
// removed at the end. Its clients are proxies on this machine, which may set the client's address.
func TestSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "parley.sock")
	c := testConfig()
	c.Addr, c.HTTPRedirect = "unix:"+path, "off"
	c.TrustedProxies, c.MaxConnectionsPerAddress = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, 1
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := app.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	i := runOn(t, s, ports)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := app.Listen(c); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listening twice: %v", err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	resp, err := client.Get("http://chat.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(page), "<!doctype html>") {
		t.Errorf("page %.60q, %v", page, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var clients []*ws.Conn
	connect := func(from string) error {
		header := http.Header{"X-Forwarded-For": {from}}
		conn, _, err := ws.Dial(ctx, "ws://chat.example/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{Header: header, NetDial: dial})
		if err != nil {
			return err
		}
		clients = append(clients, conn)
		if _, _, err = conn.ReadMessage(ctx); err != nil {
			return err
		}
		if err := conn.WriteMessage(ctx, ws.OpText, []byte("40")); err != nil {
			return err
		}
		_, _, err = conn.ReadMessage(ctx)
		return err
	}
	for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
		if err := connect(from); err != nil {
			t.Errorf("from %s: %v", from, err)
		}
	}
	if err := connect("192.0.2.1"); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("the second connection of an address: %v", err)
	}
	for _, conn := range clients {
		conn.CloseNow()
	}
	if err := i.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket is left behind")
	}
}

// A socket left behind by a killed process is replaced; any other file is not.
func TestSocketIsTaken(t *testing.T) {
	path := filepath.Join(shortDir(t), "parley.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	code, stdout, stderr := command(nil, "--addr", "unix:"+path, "--data", "memory")
	if code != 0 || !strings.Contains(stdout, "open     unix:"+path+"\n") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(nil, "--addr", "unix:"+path, "--data", "memory"); code != 1 || !strings.Contains(stderr, "no socket") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "precious" {
		t.Errorf("the file has %q, %v", content, err)
	}
	nowhere := filepath.Join(path, "parley.sock")
	if code, _, stderr := command(nil, "--addr", "unix:"+nowhere, "--data", "memory"); code != 1 || !strings.Contains(stderr, nowhere) || strings.Contains(stderr, "1024") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
