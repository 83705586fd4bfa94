package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/js"
	"github.com/parley-go/parley/web"
)

func request(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// The page learns from its own markup whether the server is closed, also if that changes.
func TestPageKnowsWhetherTheServerIsClosed(t *testing.T) {
	says := func(url, access string) {
		t.Helper()
		for _, path := range []string{"/", "/index.html"} {
			if _, body := request(t, "GET", url+path); !strings.Contains(body, `<meta name="parley-access" content="`+access+`">`) {
				t.Errorf("%s: it does not say %q", path, access)
			}
		}
	}
	c := testConfig()
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := app.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	url := runOn(t, s, ports).url
	says(url, "open")
	if _, err := app.Access(s).AddOperator(t.Context(), access.Operator{ID: "ann"}, password); err != nil {
		t.Fatal(err)
	}
	says(url, "closed")
}

func TestWhatIsServed(t *testing.T) {
	url := start(t, testConfig()).url
	for _, test := range []struct {
		path, contentType, body string
		status                  int
	}{
		{"/", "text/html; charset=utf-8", "<!doctype html>", 200},
		{"/index.html", "text/html; charset=utf-8", "<!doctype html>", 200},
		{"/chat.css", "text/css; charset=utf-8", "", 200},
		{"/chat.js", "text/javascript; charset=utf-8", "import", 200},
		{"/icon.svg", "image/svg+xml", "<svg", 200},
		{"/parley.js", "text/javascript; charset=utf-8", "export", 200},
		{"/room.js", "text/javascript; charset=utf-8", "export", 200},
		{"/lobby.js", "text/javascript; charset=utf-8", "export", 200},
		{"/transports.js", "text/javascript; charset=utf-8", "import", 200},
		{"/feed.js", "text/javascript; charset=utf-8", "export", 200},
		{"/parley.d.ts", "application/typescript; charset=utf-8", "export class Client", 200},
		{"/protocol.d.ts", "application/typescript; charset=utf-8", "ServerToClientEvents", 200},
		{"/package.json", "text/plain; charset=utf-8", "404: ", 404},
		{"/healthz", "text/plain; charset=utf-8", "ok\n", 200},
		{"/readyz", "text/plain; charset=utf-8", "ok\n", 200},
		{"/embed.go", "text/plain; charset=utf-8", "404: ", 404},
		{"/nothing/here", "text/plain; charset=utf-8", "404: ", 404},
		{"/socket.io/?EIO=4&transport=pigeon", "application/json", `{"code":0,`, 400},
		{"/socket.io?EIO=4&transport=pigeon", "application/json", `{"code":0,`, 400},
	} {
		resp, body := request(t, "GET", url+test.path)
		if resp.StatusCode != test.status || resp.Header.Get("Content-Type") != test.contentType || !strings.Contains(body, test.body) {
			t.Errorf("%s: status %d, type %q, body %.60q", test.path, resp.StatusCode, resp.Header.Get("Content-Type"), body)
		}
		if strings.HasPrefix(test.path, "/socket.io") {
			continue
		}
		if head, body := request(t, "HEAD", url+test.path); head.StatusCode != test.status || body != "" {
			t.Errorf("HEAD %s: status %d, body %q", test.path, head.StatusCode, body)
		}
		if post, _ := request(t, "POST", url+test.path); post.StatusCode != 405 || post.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: status %d", test.path, post.StatusCode)
		}
	}
	names, err := fs.Glob(js.Files, "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("clients: %v, %v", names, err)
	}
	for _, name := range names {
		if resp, _ := request(t, "GET", url+"/"+name); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: status %d, header %v", name, resp.StatusCode, resp.Header)
		}
	}
}

// A body that does not arrive holds up a connection, but not for ever.
func TestBodiesThatStall(t *testing.T) {
	t.Cleanup(app.SetBodyTimeout(50 * time.Millisecond))
	address := strings.TrimPrefix(start(t, testConfig()).url, "http://")
	for _, request := range []string{"POST /healthz", "GET /", "DELETE /nothing", "POST /rooms/a/events"} {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetReadDeadline(time.Now().Add(2 * time.Minute))
		fmt.Fprintf(nc, "%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 10\r\n\r\n123", request, address)
		if answer, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
			t.Errorf("%s: %.60q, %v", request, answer, err)
		}
	}
}

// The server drops a client that reads nothing and asks for more than fits in the buffers.
func TestAnswersThatAreNotTaken(t *testing.T) {
	t.Cleanup(app.SetAnswerTimeout(50 * time.Millisecond))
	address := strings.TrimPrefix(start(t, testConfig()).url, "http://")
	for _, request := range []string{"GET /parley.js", "GET /metrics", "POST /nothing", "OPTIONS /rooms/a/events", "PUT /rooms/a/events"} {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(2 * time.Minute))
		many := []byte(strings.Repeat(request+" HTTP/1.1\r\nHost: "+address+"\r\n\r\n", 1000))
		for err == nil {
			_, err = nc.Write(many)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still there", request)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	url := start(t, testConfig()).url
	for _, path := range []string{"/", "/chat.js", "/nothing"} {
		resp, _ := request(t, "GET", url+path)
		for name, want := range map[string]string{
			"Content-Security-Policy": web.ContentSecurityPolicy,
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"X-Frame-Options":         "DENY",

			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	if !strings.Contains(web.ContentSecurityPolicy, "frame-ancestors 'none'") {
		t.Error("the page may be framed")
	}
}

func TestAssetsAreRevalidated(t *testing.T) {
	url := start(t, testConfig()).url
	resp, body := request(t, "GET", url+"/parley.js")
	etag := resp.Header.Get("ETag")
	if etag == "" || body == "" || resp.Header.Get("Cache-Control") != "no-cache" || resp.Header.Get("Access-Control-Allow-Origin") != "*" ||
		resp.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Fatalf("header %v", resp.Header)
	}
	if resp, body := request(t, "GET", url+"/parley.js", "If-None-Match", etag); resp.StatusCode != 304 || body != "" {
		t.Errorf("status %d, %d bytes", resp.StatusCode, len(body))
	}
	if resp, _ := request(t, "GET", url+"/chat.js"); resp.Header.Get("ETag") == etag || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("header %v", resp.Header)
	}
}

func TestMetrics(t *testing.T) {
	i := start(t, testConfig())
	a := i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "u"})
	send(t, a, object{"roomId": "r", "message": 1, "clientId": "c"})
	send(t, a, object{"roomId": "r", "message": 1, "clientId": "c"})

	_, body := request(t, "GET", i.url+"/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"parley_connections": 1, "parley_sockets": 1, "parley_rooms": 1, "parley_sockets_connected_total": 1,
		"parley_events_received_total": 3, "parley_upgrades_total": 0, "parley_handler_errors_total": 0,
		"parley_messages_appended_total": 1, "parley_messages_duplicate_total": 1, "parley_store_commit_errors_total": 0,
	} {
		f := families[name]
		if f == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		got := f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue()
		if got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, m := range families["parley_connections_by_transport"].GetMetric() {
		if want := map[string]float64{"websocket": 1}[m.Label[0].GetValue()]; m.Gauge.GetValue() != want {
			t.Errorf("%v, want %v", m, want)
		}
	}
	for _, m := range families["parley_connections_opened_total"].GetMetric() {
		if want := map[string]float64{"websocket": 1}[m.Label[0].GetValue()]; m.Counter.GetValue() != want {
			t.Errorf("opened: %v", m)
		}
	}
	if n := families["parley_store_commit_seconds"].GetMetric()[0].Histogram.GetSampleCount(); n != 2 {
		t.Errorf("%d commits, want 2", n)
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "parley_build_info", "parley_connections_by_transport", "parley_slow_consumers_total", "parley_sockets_disconnected_total", "parley_slowed_total", "parley_malformed_total", "parley_volatile_dropped_total", "parley_connections_refused_total", "parley_received_bytes_total", "parley_sent_bytes_total", "parley_feeds", "parley_feeds_opened_total", "parley_feeds_refused_total", "parley_feeds_slow_total", "parley_feed_events_total"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// brokenStore fails as if its disk were full or dead.
type brokenStore struct {
	*history.Memory
	read, write error
}

func (b *brokenStore) Append(ctx context.Context, d []history.Draft) ([]history.Appended, error) {
	if b.write != nil {
		return nil, b.write
	}
	return b.Memory.Append(ctx, d)
}

func (b *brokenStore) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	if b.read != nil {
		return nil, b.read
	}
	return b.Memory.Heads(ctx, rooms)
}

func TestNotReadyWithoutTheStore(t *testing.T) {
	i := startOn(t, testConfig(), &brokenStore{Memory: history.NewMemory(), read: errors.New("disk is gone")})
	if resp, body := request(t, "GET", i.url+"/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "store") {
		t.Errorf("status %d, %q", resp.StatusCode, body)
	}
	if resp, _ := request(t, "GET", i.url+"/healthz"); resp.StatusCode != 200 {
		t.Errorf("healthz: status %d", resp.StatusCode)
	}
}

// small records that its buffer has been made smaller.
type small struct {
	net.Conn
	bytes int
}

func (c *small) SetWriteBuffer(bytes int) error { c.bytes = bytes; return nil }

// The limit on what the kernel buffers does not depend on how a client spells the transport's name.
func TestStreamsHaveASmallBuffer(t *testing.T) {
	h := app.SmallBufferOfStreams(http.NotFoundHandler())
	for query, want := range map[string]int{
		"EIO=4&transport=sse":                   64 << 10,
		"EIO=4&transport=%73se":                 64 << 10,
		"EIO=4&%74ransport=sse":                 64 << 10,
		"EIO=4&transport=polling&transport=sse": 64 << 10,
		"EIO=4&transport=polling":               0,
		"EIO=4&transport=websocket":             0,
	} {
		c := new(small)
		r := httptest.NewRequestWithContext(app.WithConn(t.Context(), c), "GET", "/socket.io/?"+query, nil)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if c.bytes != want {
			t.Errorf("%s: a buffer of %d bytes, want %d", query, c.bytes, want)
		}
	}
}

// A panic in a handler is logged as an error; mistakes of clients are not.
func TestLogOfHTTP(t *testing.T) {
	var b bytes.Buffer
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") }))
	server.Config.ErrorLog = app.HTTPLog(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	server.Start()
	if _, err := http.Get(server.URL); err == nil {
		t.Error("the handler that panics has answered")
	}
	server.Config.ErrorLog.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	server.Close()
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[0], "on purpose") || !strings.Contains(lines[1], "level=DEBUG") {
		t.Errorf("logged\n%s", b.String())
	}
}
