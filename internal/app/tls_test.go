package app_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/ws"
)

// startTLS runs a server with a self-signed certificate, which the configuration trusts, and a
// server that redirects to it.
func startTLS(t *testing.T, allowedHosts ...string) (i *instance, plain string, trust *tls.Config) {
	t.Helper()
	c := testConfig()
	c.AllowedHosts = allowedHosts
	c.Data, c.TLSSelfSigned = t.TempDir(), true
	c.ShutdownTimeout = 3 * time.Second // polling clients that do not poll delay it
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c.Addr, c.HTTPRedirect = "127.0.0.1:0", "127.0.0.1:0"
	ports, err := app.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	i = runOn(t, s, ports)
	i.url = strings.Replace(i.url, "http://", "https://", 1)
	pem, err := os.ReadFile(filepath.Join(c.Data, "self-signed-cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	trust = &tls.Config{RootCAs: x509.NewCertPool()}
	trust.RootCAs.AppendCertsFromPEM(pem)
	return i, "http://" + ports.Plain.Addr().String(), trust
}

// One port serves pages over HTTP/2, polling over both versions, and WebSockets.
func TestTLS(t *testing.T) {
	i, _, trust := startTLS(t)
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: version == "HTTP/2.0"}
		defer transport.CloseIdleConnections()
		for path, want := range map[string]string{"/": "<!doctype html>", "/socket.io/?EIO=4&transport=polling": `"upgrades":["websocket","webtransport"]`} {
			resp, err := (&http.Client{Transport: transport}).Get(i.url + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.Proto != version || resp.StatusCode != 200 || !strings.Contains(string(body), want) {
				t.Errorf("%s over %s: status %d over %s, body %.80q, %v", path, version, resp.StatusCode, resp.Proto, body, err)
			}
			if resp.Header.Get("Strict-Transport-Security") != "" {
				t.Error("HSTS would bind whoever has this name next")
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, _, err := ws.Dial(ctx, i.url+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{TLS: trust})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, open, err := conn.ReadMessage(ctx); err != nil || !strings.HasPrefix(string(open), `0{"sid"`) {
		t.Errorf("wss: %q, %v", open, err)
	}
}

func TestTLSIsModern(t *testing.T) {
	i, _, trust := startTLS(t)
	address := strings.TrimPrefix(i.url, "https://")
	for name, test := range map[string]struct {
		change func(*tls.Config)
		ok     bool
	}{
		"TLS 1.3": {func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true},
		"TLS 1.2": {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		"TLS 1.1": {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		"CBC": {func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
		}, false},
	} {
		config := trust.Clone()
		test.change(config)
		conn, err := tls.Dial("tcp", address, config)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedirect(t *testing.T) {
	i, plain, _ := startTLS(t, "*")
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(i.url, "https://"))
	_, from, _ := net.SplitHostPort(strings.TrimPrefix(plain, "http://"))
	for _, test := range []struct {
		method, host, target string
		status               int
		location             string
	}{
		{"GET", "chat.example:" + from, "/a%20b?c=d", 308, "https://chat.example:" + port + "/a%20b?c=d"},
		{"HEAD", "chat.example:8080", "/", 308, "https://chat.example:" + port + "/"},
		{"GET", "[::1]:" + from, "/", 308, "https://[::1]:" + port + "/"},
		// If port 80 is forwarded to this port, then 443 is forwarded to the other one.
		{"GET", "chat.example", "/a", 308, "https://chat.example/a"},
		{"GET", "[::1]:80", "/", 308, "https://[::1]/"},
		{"GET", "[::1]", "/", 308, "https://[::1]/"},
		{"GET", "evil.example/x?", "/", 400, ""},
		{"GET", "user@evil.example", "/", 400, ""},
		{"GET", "chat.example", "http:.evil.example/", 400, ""},
		{"GET", "chat.example", "*", 400, ""},
		{"POST", "chat.example", "/", 400, ""},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(plain, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, test.method+" "+test.target+" HTTP/1.1\r\nHost: "+test.host+"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		answer, _ := io.ReadAll(conn)
		conn.Close()
		status, rest, _ := strings.Cut(strings.TrimPrefix(string(answer), "HTTP/1.1 "), " ")
		_, location, _ := strings.Cut(rest, "\r\nLocation: ")
		location, _, _ = strings.Cut(location, "\r\n")
		if want := map[int]string{308: "308", 400: "400"}[test.status]; status != want || location != test.location {
			t.Errorf("%s %s of %s: %s to %q, want %d to %q", test.method, test.target, test.host, status, location, test.status, test.location)
		}
	}
}

func TestTLSIsShown(t *testing.T) {
	data := t.TempDir()
	code, stdout, stderr := command(nil, "--addr", "127.0.0.1:0", "--data", data, "--tls-self-signed", "--http-redirect", "127.0.0.1:0")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"open     https://127.0.0.1:", "TLS      self-signed", "SHA-256 ", filepath.Join(data, "self-signed-cert.pem"), "redirect http://127.0.0.1:"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("banner lacks %q:\n%s", want, stdout)
		}
	}
	cert, key := filepath.Join(data, "self-signed-cert.pem"), filepath.Join(data, "self-signed-key.pem")
	if _, stdout, _ := command(nil, "--addr", "127.0.0.1:0", "--data", "memory", "--tls-cert", cert, "--tls-key", key); !strings.Contains(stdout, "TLS      "+cert+", until 20") || strings.Contains(stdout, "redirect") {
		t.Errorf("banner:\n%s", stdout)
	}

	authority := []string{"--acme-domains", "chat.example,chat.müller.example", "--acme-directory", "https://127.0.0.1:1/"}
	if _, stdout, _ := command(nil, append(authority, "--addr", "127.0.0.1:0", "--data", data)...); !regexp.MustCompile(`open     https://chat\.example:[0-9]+/  https://chat\.xn--mller-kva\.example:[0-9]+/\n`).MatchString(stdout) {
		t.Errorf("banner:\n%s", stdout)
	}

	i, _, trust := startTLS(t)
	transport := &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get(i.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	for _, want := range []string{"\nparley_tls_certificate_expires_timestamp_seconds 1.", "\nparley_tls_certificates_loaded_total 1\n", "\nparley_tls_certificate_failures_total 0\n"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}

func TestAddressesOfTLS(t *testing.T) {
	for _, test := range []struct {
		flags          map[string]string
		addr, redirect string
	}{
		{map[string]string{}, "127.0.0.1:8080", "off"},
		{map[string]string{"tls-self-signed": "true"}, "127.0.0.1:8443", "off"},
		{map[string]string{"tls-cert": "c", "tls-key": "k"}, ":443", ":80"},
		{map[string]string{"tls-cert": "c", "tls-key": "k", "http-redirect": "off"}, ":443", "off"},
		{map[string]string{"tls-cert": "c", "tls-key": "k", "addr": ":8443"}, ":8443", "off"},
		{map[string]string{"acme-domains": "a.example,b.example"}, ":443", ":80"},
		{map[string]string{"acme-domains": "a.example", "addr": ":1443", "http-redirect": ":1080"}, ":1443", ":1080"},
	} {
		c, err := app.LoadConfig(nil, test.flags)
		if err != nil || c.Addr != test.addr || c.HTTPRedirect != test.redirect {
			t.Errorf("%v: %s and %s, want %s and %s (%v)", test.flags, c.Addr, c.HTTPRedirect, test.addr, test.redirect, err)
		}
	}
}
