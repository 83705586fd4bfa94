package app_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// oddTargets are targets of requests beside those of doors. SID stands for the id of a session.
var oddTargets = []string{
	"/socket.io/", "/socket.io/?", "/socket.io/?EIO=4", "/socket.io/?transport=polling", "/socket.io/?EIO=9&transport=polling",
	"/socket.io/?EIO=4&transport=webtransport", "/socket.io/?EIO=4&transport=pigeon", "/socket.io/?EIO=%zz&transport=%", "/socket.io/?;;&&==",
	"/socket.io/?EIO=4&transport=polling&j=a", "/socket.io/?EIO=4&transport=polling&sid=x", "/socket.io/?EIO=4&transport=sse&sid=x",
	"/socket.io/?EIO=4&transport=polling&sid=SID", "/socket.io/?EIO=4&transport=sse&sid=SID", "/socket.io/?EIO=3&transport=polling&sid=SID",
	"/socket.io/?EIO=4&transport=websocket&sid=SID", "/socket.io/?EIO=4&transport=polling&j=0&sid=SID", "/socket.io/?EIO=4&transport=sse&lastEventId=9",
	"/socket.io/?EIO=4&transport=polling&sid=" + strings.Repeat("x", 20_000), "/socket.io/socket.io.js.map", "/socket.io/x", "/socket.io//",
	"/rooms//events", "/rooms/%/events", "/rooms/%00/events", "/rooms/%ff/events", "/rooms/%0d%0a/events", "/rooms/a%2Fb/events", "/rooms/" + strings.Repeat("x", 5000) + "/events",
	"/rooms/r/events?lastEventId=x", "/rooms/r/events?limit=-1", "/rooms/r/events?limit=99999999999999999999", "/rooms/r/events?lastEventId=earliest", "/rooms/r/events?%zz",
	"/rooms/r", "/rooms/", "/rooms/r/events/", "/metrics?name[]=%ff", "/metrics/", "/METRICS", "/metrics;x=1", "//metrics", "/./metrics", "/socket.io/../metrics", "/socket.io/..;/metrics",
	"/socket.io/..%2Fmetrics", "/socket.io/%2e%2e/metrics", "/%6detrics", "/%2e%2e/%2e%2e/etc/passwd", "/..%5cmetrics", "/%00", "/%", "/%zz", "/\x80", "/\xff", "/a b", "/" + strings.Repeat("a/", 4000),
	"/favicon.ico", "/.git/config", "/healthz?x", "/readyz/", "/index.html/", "*", "http://localhost/", "http://localhost:99999/", "http:/", "localhost:80", "https://[::1/", "?", "",
}

var oddMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "X-Y", "M\x00", strings.Repeat("M", 300)}

// oddHeaders are headers, one set for each request.
var oddHeaders = [][]string{
	nil,
	{"Range: bytes=0-1"}, {"Range: bytes=5-1,9-,-0"}, {"Range: bytes=" + strings.Repeat("0-0,", 200) + "0-0"}, {"Range: lines=1-2"}, {"Range: bytes=99999999999999999999-"}, {"If-Range: x", "Range: bytes=0-0"},
	{"If-None-Match: \""}, {"If-Modified-Since: yesterday"}, {"If-Match: *"}, {"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"},
	{"Expect: 100-continue", "Content-Length: 3"}, {"Expect: a miracle"}, {"Content-Length: 3"}, {"Content-Length: -1"}, {"Content-Length: 1", "Content-Length: 2"}, {"Content-Length: 99999999999999999999"},
	{"Transfer-Encoding: chunked"}, {"Transfer-Encoding: gzip"}, {"Transfer-Encoding: chunked", "Content-Length: 3"}, {"Content-Encoding: gzip", "Content-Length: 3"}, {"Content-Type: application/octet-stream", "Content-Length: 3"}, {"Content-Type: \xff/\x01"},
	upgrade, {"Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"}, {"Connection: Upgrade", "Upgrade: websocket"}, {"Connection: upgrade", "Upgrade: TLS/1.0, websocket", "Sec-WebSocket-Version: 99"},
	{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"}, {"Connection: close, Upgrade, ,", "Upgrade: \x7f"},
	{"Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Connection: Upgrade", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99", "Sec-WebSocket-Protocol: \"", "Content-Length: 3"},
	{"Accept: text/event-stream;q=0"}, {"Accept: application/openmetrics-text; version=9.9.9; escaping=\xff"}, {"Accept-Encoding: zstd, br;q=nan, gzip;q=-1, *;q=0"}, {"Accept-Encoding: zstd"}, {"Last-Event-ID: \xff"}, {"Last-Event-ID: " + strings.Repeat("9", 5000)},
	{"Origin: null"}, {"Origin: \xff://"}, {"Origin: a", "Origin: b"}, {"Origin: http://evil.example", "Access-Control-Request-Method: X"}, {"Sec-Fetch-Site: cross-site"}, {"Referer: %"}, {"Cookie: " + strings.Repeat("c", 17_000)}, {"Cookie: " + strings.Repeat("c", 40_000)},
	{"X-Forwarded-For: \xff, , 1", "X-Forwarded-Proto: x", "Forwarded: for=\""}, {"Host: other"}, {"X\x00: y"}, {" folded"}, {": no name"}, {"no colon"}, {"Trailer: Content-Length", "Transfer-Encoding: chunked"}, {"TE: trailers, x;q=9"}, {"Connection: Content-Length", "Content-Length: 3"}, {"Connection: keep-alive", "Keep-Alive: timeout=0"},
}

// netHTTP are the only answers above 499 that a client can get from a server that is well. net/http
// gives them before any handler, as HTTP asks.
var netHTTP = map[string]string{
	"HTTP/1.1 501 Not Implemented":            "Transfer-Encoding: gzip", // RFC 9112, 6.1
	"HTTP/1.1 505 HTTP Version Not Supported": " HTTP/",                  // RFC 9110, 15.6.6; no request of HTTP/1.0 or 1.1 gets it
}

// No request of a client looks like a failure of the server, whatever is odd about it.
func TestOddRequests(t *testing.T) {
	c := testConfig()
	c.PingInterval = 10 * time.Millisecond // ends polls
	i := start(t, c)
	address := strings.TrimPrefix(i.url, "http://")
	ask := func(lines ...string) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		head := strings.Join(lines, "\r\n")
		if strings.Contains(head, "SID") {
			head = strings.ReplaceAll(head, "SID", newSession(t, i.url))
		}
		go io.WriteString(conn, head+"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if _, status, _ := strings.Cut(answer, " "); err == nil && status >= "1" && status < "5" {
			return
		}
		for expected, part := range netHTTP {
			old := strings.HasSuffix(lines[0], " HTTP/1.1") || strings.HasSuffix(lines[0], " HTTP/1.0")
			if strings.HasPrefix(answer, expected) && strings.Contains(head, part) && (!old || part != " HTTP/") {
				return
			}
		}
		t.Errorf("%.300q: %q, %v", head, answer, err)
	}
	targets := make(chan string)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for target := range targets {
				for _, method := range oddMethods {
					ask(method+" "+target+" HTTP/1.1", "Host: localhost", "Connection: close")
				}
				lines := []string{"GET " + target + " HTTP/1.1"}
				if !slices.Contains(oddTargets, target) {
					lines = append(lines, "POST "+target+" HTTP/1.1", "GET "+target+" HTTP/1.0")
				}
				for _, line := range lines {
					for _, header := range oddHeaders {
						ask(append([]string{line, "Host: localhost"}, header...)...)
					}
				}
				for _, version := range []string{"HTTP/1.0", "HTTP/1.9", "HTTP/0.9", "HTTP/2.9", "http/1.1", "HTTP/x", ""} {
					ask("GET " + target + " " + version)
				}
			}
		})
	}
	for _, target := range oddTargets {
		targets <- target
	}
	for _, door := range doors {
		targets <- door.path
	}
	close(targets)
	asking.Wait()
	if resp, _ := request(t, "GET", i.url+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("afterwards: status %d", resp.StatusCode)
	}
}

// newSession begins a session by polling.
func newSession(t *testing.T, url string) (sid string) {
	_, body := request(t, "GET", url+"/socket.io/?EIO=4&transport=polling")
	sid, err := sidOf(body)
	if err != nil {
		t.Error(err)
	}
	return sid
}

// The same over HTTP/2, where the parts of a request are fields.
func TestOddRequestsOverHTTP2(t *testing.T) {
	i, _, trust := startTLS(t)
	trust.NextProtos = []string{"h2"}
	type fields [][2]string
	get := func(path string, more ...[2]string) fields {
		return append(fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}}, more...)
	}
	var odd []fields
	for _, path := range oddTargets {
		odd = append(odd, get(path))
	}
	for _, path := range []string{"/", "/metrics", "/rooms/r/events", "/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=sse", "/socket.io/?EIO=4&transport=websocket", "*", ""} {
		for _, method := range append(oddMethods, "") {
			odd = append(odd, append(fields{{":method", method}}, get(path)[1:]...))
		}
		for _, field := range [][2]string{
			{"connection", "upgrade"}, {"upgrade", "websocket"}, {"transfer-encoding", "chunked"}, {"transfer-encoding", "gzip"}, {"te", "gzip"}, {"content-length", "3"}, {"content-length", "x"},
			{"Upper", "case"}, {"", "no name"}, {"a b", "c"}, {"a", "b\r\nc: d"}, {"a", "\x00"}, {":status", "200"}, {":path", "/"}, {":protocol", "websocket"}, {":protocol", "webtransport"}, {"expect", "a miracle"}, {"range", "bytes=9-1,-"}, {"host", "other"}, {"cookie", strings.Repeat("c", 17_000)},
		} {
			odd = append(odd, get(path, field))
		}
		odd = append(odd, get(path)[1:], get(path)[:3], get(path)[:1],
			fields{{":method", "CONNECT"}, {":authority", "localhost:80"}}, fields{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}})
	}
	address := strings.TrimPrefix(i.url, "https://")
	answers := 0
	for _, request := range odd {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for _, f := range request {
			e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		conn, err := tls.Dial("tcp", address, trust)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		io.WriteString(conn, http2.ClientPreface)
		framer := http2.NewFramer(conn, conn)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		framer.WriteSettings()
		fragment := b.Bytes()
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fragment[:min(len(fragment), 16<<10)], EndStream: true, EndHeaders: len(fragment) <= 16<<10})
		for rest := fragment[min(len(fragment), 16<<10):]; len(rest) > 0; {
			n := min(len(rest), 16<<10)
			framer.WriteContinuation(1, n == len(rest), rest[:n])
			rest = rest[n:]
		}
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				break // the connection is closed for an error of the protocol
			}
			if answer, ok := frame.(*http2.MetaHeadersFrame); ok {
				answers++
				if status := answer.PseudoValue("status"); status >= "5" {
					t.Errorf("%.300q: status %s", request, status)
				}
				break
			}
			if f := frame.Header().Type; f == http2.FrameRSTStream || f == http2.FrameGoAway {
				break
			}
		}
		conn.Close()
	}
	if answers < len(odd)/4 {
		t.Errorf("%d answers to %d requests", answers, len(odd))
	}
}
