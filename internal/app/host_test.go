package app_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley/internal/app"
)

// ask sends the lines of a request and returns the answer without a body. Line breaks are added.
func ask(t *testing.T, address string, lines ...string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n")
	method, _, _ := strings.Cut(lines[0], " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.200q: %v", lines, err)
	}
	return resp
}

// doors are requests for everything that the server serves over HTTP, with the status for a client
// that may ask.
var doors = []struct {
	path   string
	header []string
	status int
}{
	{"/", nil, 200},
	{"/index.html", nil, 200},
	{"/chat.js", nil, 200},
	{"/parley.js", nil, 200},
	{"/metrics", nil, 200},
	{"/certificate-hash", nil, 404},
	{"/nothing", nil, 404},
	{"/rooms/r/events", nil, 200},
	{"/socket.io/?EIO=4&transport=polling", nil, 200},
	{"/socket.io?EIO=4&transport=polling", nil, 200},
	{"/socket.io/?EIO=3&transport=polling", nil, 200},
	{"/socket.io/?EIO=4&transport=polling&j=0", nil, 200},
	{"/socket.io/?EIO=4&transport=sse", nil, 200},
	{"/socket.io/?EIO=4&transport=websocket", upgrade, 101},
	{"/socket.io/?EIO=3&transport=websocket", upgrade, 101},
	{"/socket.io/socket.io.js", nil, 200},
}

var upgrade = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}

// A page whose name leads to this server (DNS rebinding) gets nothing, whatever it asks for.
func TestHostIsCheckedOnEveryDoor(t *testing.T) {
	i := start(t, testConfig())
	address := strings.TrimPrefix(i.url, "http://")
	_, port, _ := net.SplitHostPort(address)
	for _, door := range doors {
		for _, host := range []string{address, "localhost:" + port, "127.0.0.1", "LOCALHOST.", "[::1]:" + port, "chat.localhost"} {
			resp := ask(t, address, append([]string{"GET " + door.path + " HTTP/1.1", "Host: " + host}, door.header...)...)
			if resp.StatusCode != door.status {
				t.Errorf("%s of %s: status %d, want %d", door.path, host, resp.StatusCode, door.status)
			}
		}
		for _, host := range []string{"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.evil.example", "127.1", "evil.example.", ""} {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				resp := ask(t, address, append([]string{method + " " + door.path + " HTTP/1.1", "Host: " + host}, door.header...)...)
				if resp.StatusCode != 421 {
					t.Errorf("%s %s of %q: status %d, want 421", method, door.path, host, resp.StatusCode)
				}
			}
		}
		if resp := ask(t, address, append([]string{"GET " + door.path + " HTTP/1.1", "Host: localhost", "Host: evil.example"}, door.header...)...); resp.StatusCode != 400 {
			t.Errorf("%s with two hosts: status %d, want 400", door.path, resp.StatusCode)
		}
		// Without a host, and with one in the target, which counts (RFC 9112, 3.2.2).
		for lines, want := range map[string]int{
			"GET " + door.path + " HTTP/1.0":                                       421,
			"GET http://evil.example" + door.path + " HTTP/1.1\r\nHost: localhost": 421,
		} {
			if resp := ask(t, address, append([]string{lines}, door.header...)...); resp.StatusCode != want {
				t.Errorf("%s: status %d, want %d", lines, resp.StatusCode, want)
			}
		}
	}
	for _, path := range []string{"/", "/metrics", "/socket.io/?EIO=4&transport=polling"} {
		if resp := ask(t, address, "GET "+path+" HTTP/1.1", "Host: 192.168.1.2"); resp.StatusCode != 200 {
			t.Errorf("%s of an address: status %d", path, resp.StatusCode)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if resp := ask(t, address, "GET "+path+" HTTP/1.1", "Host: probe"); resp.StatusCode != 200 {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	wantSample(t, i.url, "parley_connections_refused_total", `reason="origin"`, 0)
}

// The same over HTTP/2, over HTTP/3 with WebTransport, and on the port that redirects.
func TestHostIsCheckedOverTLS(t *testing.T) {
	i, plain, trust := startTLS(t)
	address := strings.TrimPrefix(i.url, "https://")
	config := trust.Clone()
	config.ServerName, config.NextProtos = "localhost", []string{"h2"}
	h2 := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	}}
	defer h2.CloseIdleConnections()
	for host, allowed := range map[string]bool{"localhost": true, address: true, "evil.example": false, "evil.example:443": false} {
		for _, door := range doors {
			r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+host+door.path, nil)
			want := door.status
			switch {
			case door.status == 101: // Go offers no WebSockets over HTTP/2 unless a GODEBUG says so
				want = 400
			case door.path == "/certificate-hash":
				want = 200
			}
			if !allowed {
				want = 421
			}
			resp, err := h2.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want || resp.ProtoMajor != 2 {
				t.Errorf("%s %s of %s over HTTP/2: status %d, want %d", r.Method, door.path, host, resp.StatusCode, want)
			}
		}

		dialer := &wt.Transport{
			TLSClientConfig: anybody,
			QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true},
			DialAddr: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
				return quic.DialAddr(ctx, address, c, q)
			},
		}
		for _, path := range []string{"/socket.io/", "/%73ocket.io/"} {
			want := 421
			switch {
			case path != "/socket.io/":
				want = 404
			case allowed:
				want = 200
			}
			resp, session, err := dialer.Dial(t.Context(), "https://"+host+path, nil)
			if resp == nil || resp.StatusCode != want {
				t.Errorf("%s of %s over HTTP/3: %v, want %d (%v)", path, host, resp, want, err)
			}
			if err == nil {
				session.CloseWithError(0, "")
			}
		}
		dialer.Close()

		want := 308
		if !allowed {
			want = 421
		}
		if resp := ask(t, strings.TrimPrefix(plain, "http://"), "GET / HTTP/1.1", "Host: "+host); resp.StatusCode != want {
			t.Errorf("redirect of %s: status %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestAllowedHosts(t *testing.T) {
	for _, test := range []struct {
		flags   map[string]string
		on      string
		allowed []string
		refused []string
	}{
		{map[string]string{}, "127.0.0.1:1", []string{"localhost", "10.0.0.1"}, []string{"chat.example", "parley"}},
		{map[string]string{}, "[::1]:1", []string{"localhost"}, []string{"chat.example"}},
		{map[string]string{}, "127.0.1.1:1", []string{"localhost"}, []string{"chat.example"}},
		{map[string]string{}, "0.0.0.0:1", []string{"chat.example", ""}, nil},
		{map[string]string{}, "192.0.2.1:1", []string{"chat.example"}, nil},
		{map[string]string{"allowed-hosts": "chat.example"}, "127.0.0.1:1", []string{"chat.example", "CHAT.example.:80", "127.0.0.1:8080"}, []string{"a.chat.example", "chat.example.org", "xchat.example", ""}},
		{map[string]string{"allowed-hosts": "chat.example"}, "0.0.0.0:1", []string{"chat.example", "127.0.0.1"}, []string{"evil.example"}},
		{map[string]string{"allowed-hosts": "*.Chat.example., parley"}, "127.0.0.1:1", []string{"a.chat.example", "a.b.chat.example", "parley:80"}, []string{"chat.example", ".chat.example", "xchat.example"}},
		{map[string]string{"allowed-hosts": "müller.example"}, "127.0.0.1:1", []string{"xn--mller-kva.example"}, []string{"müller.example"}},
		{map[string]string{"allowed-hosts": "*"}, "127.0.0.1:1", []string{"evil.example", ""}, nil},
		{map[string]string{"acme-domains": "chat.example"}, "0.0.0.0:1", []string{"chat.example"}, []string{"evil.example"}},
		{map[string]string{"acme-domains": "chat.example", "allowed-hosts": "old.example"}, "0.0.0.0:1", []string{"chat.example", "old.example"}, []string{"evil.example"}},
	} {
		c, err := app.LoadConfig(nil, test.flags)
		if err != nil {
			t.Fatal(err)
		}
		a, err := net.ResolveTCPAddr("tcp", test.on)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range slices.Concat(test.allowed, test.refused) {
			if got, want := app.AllowsHost(c, a, host), slices.Contains(test.allowed, host); got != want {
				t.Errorf("%v on %s: host %q: %v, want %v", test.flags, test.on, host, got, want)
			}
		}
	}
	for _, wrong := range []string{"https://chat.example", "chat.example:8080", "chat.example/", "*chat.example", "a.*.example", "[::1]", "*.", "a b"} {
		if _, err := app.LoadConfig(nil, map[string]string{"allowed-hosts": wrong}); err == nil {
			t.Errorf("%q is allowed as a name", wrong)
		}
	}
}

// The answer and the log say which setting to change. Whoever asks again and again does not fill the
// log.
func TestRefusedHostsAreExplained(t *testing.T) {
	log := new(lockedBuffer)
	s, err := app.Open(testConfig(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	address := strings.TrimPrefix(i.url, "http://")
	for _, host := range []string{"a.example", "b.example", "c.example"} {
		resp := ask(t, address, "GET / HTTP/1.1", "Host: "+host, "Connection: close")
		if resp.StatusCode != 421 || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
		}
	}
	if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 1 || !strings.Contains(lines[0], "host=a.example") || !strings.Contains(lines[0], "allowed-hosts") {
		t.Errorf("logged\n%s", log)
	}
	wantSample(t, i.url, "parley_hosts_refused_total", "", 3)
}

// Metrics on a port of their own are not on the main one.
func TestMetricsAddress(t *testing.T) {
	socket := "unix:" + filepath.Join(shortDir(t), "metrics.sock")
	for _, addr := range []string{"127.0.0.1:0", socket} {
		c := testConfig()
		c.Addr, c.HTTPRedirect, c.MetricsAddr = "127.0.0.1:0", "off", addr
		s, err := app.Open(c, quiet)
		if err != nil {
			t.Fatal(err)
		}
		ports, err := app.Listen(c)
		if err != nil {
			t.Fatal(err)
		}
		i := runOn(t, s, ports)
		if resp, _ := request(t, "GET", i.url+"/metrics"); resp.StatusCode != 404 {
			t.Errorf("on the main port: status %d", resp.StatusCode)
		}
		at := ports.Metrics.Addr()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, at.Network(), at.String())
		}}}
		for target, want := range map[string]int{
			"http://localhost/metrics": 200, "http://localhost/healthz": 200, "http://localhost/readyz": 200, "http://localhost/": 404, "http://localhost/rooms/a/events": 404, "http://localhost/%6detrics": 404,
			"http://prometheus.example/metrics": map[string]int{"tcp": 421, "unix": 200}[at.Network()],
		} {
			resp, err := client.Get(target)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want || strings.HasSuffix(target, "/metrics") && want == 200 && !strings.Contains(string(body), "\nparley_connections 0\n") {
				t.Errorf("%s at %s: status %d, want %d", target, addr, resp.StatusCode, want)
			}
		}
		if err := i.stop(); err != nil {
			t.Error(err)
		}
	}
	if code, stdout, _ := command(nil, "--addr", "127.0.0.1:0", "--data", "memory", "--metrics-addr", socket); code != 0 || !strings.Contains(stdout, "metrics  "+socket+"\n") {
		t.Errorf("exit code %d, banner:\n%s", code, stdout)
	}
	if code, _, stderr := command(nil, "--addr", "127.0.0.1:0", "--data", "memory", "--metrics-addr", "192.0.2.1:1"); code != 1 || !strings.Contains(stderr, "metrics-addr") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// wantSample checks a metric of the server.
func wantSample(t *testing.T, url, name, label string, want float64) {
	t.Helper()
	_, body := request(t, "GET", url+"/metrics")
	if label != "" {
		name += "{" + label + "}"
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if value != slog.AnyValue(want).String()+"\n" {
				t.Errorf("%s is %s, want %v", name, value, want)
			}
			return
		}
	}
	t.Errorf("%s is missing", name)
}

// A page of another site may show pages of this one, but an image or a link in it makes no session
// and no feed.
func TestOtherSitesGetNothing(t *testing.T) {
	i := start(t, testConfig())
	address := strings.TrimPrefix(i.url, "http://")
	for _, door := range doors {
		api := strings.Contains(door.path, "EIO=") || strings.HasSuffix(door.path, "/events")
		for site, allowed := range map[string]bool{"same-origin": true, "none": true, "same-site": !api, "cross-site": !api} {
			for _, mode := range []string{"no-cors", "navigate"} {
				want := door.status
				if !allowed {
					want = 403
				}
				lines := append([]string{"GET " + door.path + " HTTP/1.1", "Host: " + address, "Sec-Fetch-Site: " + site, "Sec-Fetch-Mode: " + mode}, door.header...)
				if resp := ask(t, address, lines...); resp.StatusCode != want {
					t.Errorf("%s, %s, %s: status %d, want %d", door.path, site, mode, resp.StatusCode, want)
				}
			}
		}
	}
}

// An open server on loopback says so if its settings name a proxy, because others may come through it.
func TestOpenBehindProxy(t *testing.T) {
	for name, change := range map[string]func(*app.Config){
		"names":    func(c *app.Config) { c.AllowedHosts = []string{"chat.example"} },
		"proxies":  func(c *app.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} },
		"neither":  func(*app.Config) {},
		"insisted": func(c *app.Config) { c.AllowedHosts, c.InsecureOpen = []string{"chat.example"}, true },
		"closed":   func(c *app.Config) { c.AllowedHosts, c.Visitors = []string{"chat.example"}, true },
	} {
		c, log := testConfig(), new(lockedBuffer)
		change(&c)
		s, err := app.Open(c, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		i := run(t, s)
		ask(t, strings.TrimPrefix(i.url, "http://"), "GET /healthz HTTP/1.1", "Host: chat.example", "Connection: close")
		if warned := strings.Contains(log.String(), "operator add"); warned != (name == "names" || name == "proxies") {
			t.Errorf("%s: logged %s", name, log)
		}
	}
}
