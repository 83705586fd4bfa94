package engine_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// Each test of malformed requests checks the whole answer, what happens to the session, and that
// the server keeps nothing. Other such tests are next to their transport: packets and payloads in
// polling_test.go, eio3_test.go, jsonp_test.go and websocket_test.go, upgrades in upgrade_test.go,
// origins in cors_test.go.

// wantNothingLeft checks, in a bubble, that no session, no connection and no goroutine of either is
// left, and that the counters agree.
func (s *server) wantNothingLeft() {
	s.t.Helper()
	s.client.CloseIdleConnections()
	time.Sleep(time.Second) // net/http waits half a second before it ends some connections
	synctest.Wait()
	s.wantSessions(0)
	if n := s.Conns(); n != 0 {
		s.t.Errorf("%d connections are left", n)
	}
	var opened, ended uint64
	for i := range s.Stats().Opened {
		opened += s.Stats().Opened[i].Load()
	}
	for i := range s.Stats().Ended {
		ended += s.Stats().Ended[i].Load()
	}
	if opened != ended {
		s.t.Errorf("%d sessions were opened, %d ended", opened, ended)
	}
}

// finish ends a polling session that is still open.
func (s *server) finish(query string, o *owner, farewell string) {
	s.t.Helper()
	o.wantOpen()
	o.session.Close()
	wantAnswer(s.t, s.do("GET", query, ""), 200, farewell)
	s.wantNothingLeft()
}

// raw sends a request literally and reads the response. If cut is true, the connection ends after
// the request, and there may be no response.
func (s *server) raw(request string, cut bool) (a answer) {
	s.t.Helper()
	nc, err := s.dial(s.t.Context(), "tcp", s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	go io.WriteString(nc, request)
	if cut {
		synctest.Wait()
		return answer{}
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestMalformedQueries(t *testing.T) {
	for name, tt := range map[string]struct{ query, body string }{
		"only ampersands":                  {"&&&", unknownTransport},
		"only an equals sign":              {"=", unknownTransport},
		"semicolons":                       {"EIO=4;transport=polling", unknownTransport},
		"a broken escape":                  {"EIO=4&transport=%zz", unknownTransport},
		"an escape cut off":                {"EIO=4&transport=polling%", unknownTransport},
		"NUL":                              {"EIO=4&transport=polling%00", unknownTransport},
		"a space":                          {"EIO=4&transport=+polling", unknownTransport},
		"a line break":                     {"EIO=4&transport=polling%0d%0a", unknownTransport},
		"an array":                         {"EIO=4&transport[]=polling", unknownTransport},
		"a long transport":                 {"EIO=4&transport=" + long(100_000), unknownTransport},
		"the last of two transports":       {"transport=polling&EIO=4&transport=abc", unknownTransport},
		"no version":                       {"transport=polling", badVersion},
		"an empty version":                 {"EIO=&transport=polling", badVersion},
		"a version without a value":        {"EIO&transport=polling", badVersion},
		"the last of two versions":         {"EIO=4&EIO=2&transport=polling", badVersion},
		"a space behind the version":       {"EIO=4+&transport=polling", badVersion},
		"a broken escape in the version":   {"EIO=%3&transport=polling", badVersion},
		"a full-width version":             {"EIO=%EF%BC%94&transport=polling", badVersion},
		"a long version":                   {"EIO=" + strings.Repeat("4", 100_000) + "&transport=polling", badVersion},
		"a broken escape in the name":      {"E%IO=4&transport=polling", badVersion},
		"a version in small letters":       {"eio=4&transport=polling", badVersion},
		"a WebSocket without an upgrade":   {newWebSocket, badRequest},
		"a callback where none is allowed": {newPolling + "&j=0", unknownTransport},
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			wantRefusal(t, s.do("GET", tt.query, ""), 400, tt.body)
			if n := s.Stats().RefusedInAll(); n != 1 {
				t.Errorf("%d refused, want 1", n)
			}
			s.wantNothingLeft()
		})
	}
	for name, query := range map[string]string{
		"escapes":                      "%45IO=%34&transport=poll%69ng",
		"the last of two versions":     "EIO=2&EIO=4&transport=polling",
		"an empty sid":                 newPolling + "&sid=&sid",
		"b64, which is of revision 3":  newPolling + "&b64=1",
		"what nobody knows":            newPolling + "&&=&x=%zz&t=" + long(10_000),
		"no value of what nobody asks": newPolling + "&j&transport=polling",
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{JSONP: true})
			a := s.do("GET", query, "")
			if name == "no value of what nobody asks" { // j belongs to JSONP
				wantRefusal(t, a, 400, badRequest)
				s.wantNothingLeft()
				return
			}
			s.finish(ofPolling(parseOpen(t, a.body).SID), s.owner(), "1")
		})
	}
}

// net/http refuses what HTTP itself forbids, before the engine looks at the session.
func TestMalformedHTTP(t *testing.T) {
	for name, tt := range map[string]struct {
		head, body string // without Host
		noHost     bool
		status     int
		answer     string
	}{
		"no host":                  {"GET PATH HTTP/1.1\r\n", "", true, 400, "400 Bad Request: missing required Host header"},
		"two hosts":                {"GET PATH HTTP/1.1\r\nHost: y\r\n", "", false, 400, "400 Bad Request"},
		"a bad host":               {"GET PATH HTTP/1.1\r\nHost: a b\r\n", "", true, 400, "400 Bad Request: malformed Host header"},
		"a name with a space":      {"GET PATH HTTP/1.1\r\nOrigin : x\r\n", "", false, 400, "400 Bad Request: invalid header name"},
		"a value with NUL":         {"GET PATH HTTP/1.1\r\nOrigin: a\x00b\r\n", "", false, 400, "400 Bad Request"},
		"a version that is none":   {"GET PATH HTTP/1.x\r\n", "", false, 400, "400 Bad Request"},
		"a version of the future":  {"GET PATH HTTP/9.9\r\n", "", false, 505, "505 HTTP Version Not Supported: unsupported protocol version"},
		"a space in the path":      {"GET PATH x HTTP/1.1\r\n", "", false, 400, "400 Bad Request"},
		"a bad escape in the path": {"GET /%zzPATH HTTP/1.1\r\n", "", false, 400, "400 Bad Request"},
		"a negative length":        {"POST PATH HTTP/1.1\r\nContent-Length: -2\r\n", "4a", false, 400, "400 Bad Request"},
		"a length that is none":    {"POST PATH HTTP/1.1\r\nContent-Length: 0x2\r\n", "4a", false, 400, "400 Bad Request"},
		"two lengths":              {"POST PATH HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n", "4ab", false, 400, "400 Bad Request"},
		"an unknown coding":        {"POST PATH HTTP/1.1\r\nTransfer-Encoding: gzip\r\n", "4a", false, 501, "Unsupported transfer encoding"},
		"an unknown expectation":   {"POST PATH HTTP/1.1\r\nExpect: 200-ok\r\nContent-Length: 2\r\n", "4a", false, 417, ""},
		"a header of two megabytes": {"GET PATH HTTP/1.1\r\nX: " + long(2<<20) + "\r\n", "", false, 431,
			"431 Request Header Fields Too Large"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: echo})
			sid, o := s.open()
			request := strings.Replace(tt.head, "PATH", "/engine.io/?"+ofPolling(sid), 1)
			if !tt.noHost {
				request += "Host: x\r\n"
			}
			wantAnswer(t, s.raw(request+"\r\n"+tt.body, false), tt.status, tt.answer)
			o.wantReceived()
			s.stillWorks(sid)
			s.finish(ofPolling(sid), o, "1")
		})
	}
}

func TestMalformedBodies(t *testing.T) {
	const open = engine.Reason("")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, "4a")
	z.Close()
	sized := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }
	for name, tt := range map[string]struct {
		request  string // behind the first line and Host
		cut      bool
		status   int
		body     string
		received []string
		fate     engine.Reason
	}{
		"no length":                  {"\r\n", false, 200, "ok", nil, engine.ParseError},
		"chunked, empty":             {"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 200, "ok", nil, engine.ParseError},
		"chunked, and a length":      {"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\n4a\r\n0\r\n\r\n", false, 200, "ok", []string{"a"}, open},
		"a trailer":                  {"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n4a\r\n0\r\nX: y\r\n\r\n", false, 200, "ok", []string{"a"}, open},
		"a chunk's size is none":     {"Transfer-Encoding: chunked\r\n\r\nzz\r\n4a\r\n0\r\n\r\n", false, 400, "", nil, engine.TransportError},
		"a chunk's size is negative": {"Transfer-Encoding: chunked\r\n\r\n-2\r\n4a\r\n0\r\n\r\n", false, 400, "", nil, engine.TransportError},
		"a chunk's size is huge":     {"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n4a", false, 400, "", nil, engine.TransportError},
		"a chunk that is too long":   {"Transfer-Encoding: chunked\r\n\r\n2\r\n4abc\r\n0\r\n\r\n", false, 400, "", nil, engine.TransportError},
		"a chunk cut off":            {"Transfer-Encoding: chunked\r\n\r\n9\r\n4a", true, 0, "", nil, engine.TransportError},
		"chunks without end":         {"Transfer-Encoding: chunked\r\n\r\n2\r\n4a\r\n", true, 0, "", nil, engine.TransportError},
		"a body cut off":             {"Content-Length: 9\r\n\r\n4a\x1e4b", true, 0, "", nil, engine.TransportError},
		"a body never begun":         {"Content-Length: 9\r\n\r\n", true, 0, "", nil, engine.TransportError},
		"a declared gigabyte":        {"Content-Length: 1073741824\r\n\r\n4a", false, 413, "", nil, open},
		"a declared exabyte":         {"Content-Length: 9223372036854775807\r\n\r\n4a", false, 413, "", nil, open},
		"a gigabyte, if it may":      {"Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n", false, 413, "", nil, open},
		"a chunk of a gigabyte":      {"Transfer-Encoding: chunked\r\n\r\n40000000\r\n4" + long(1_000_001), false, 413, "", nil, open},
		"compressed":                 {"Content-Encoding: gzip\r\n" + sized(zipped.String()), false, 200, "ok", nil, engine.ParseError},
		"UTF-16":                     {"Content-Type: text/plain; charset=utf-16\r\n" + sized("\xff\xfe4\x00a\x00"), false, 200, "ok", nil, engine.ParseError},
		"of HTTP/1.0":                {"Connection: close\r\n" + sized("4a"), false, 200, "ok", []string{"a"}, open},
		"of another type":            {"Content-Type: application/json\r\n" + sized("4a"), false, 200, "ok", []string{"a"}, open},
		"of a type that is none":     {"Content-Type: ;;;\r\n" + sized("4a"), false, 200, "ok", []string{"a"}, open},
		"octets, with a parameter":   {"Content-Type: application/octet-stream; x=y\r\n" + sized("4a"), false, 200, "ok", []string{"a"}, open},
		"octets, the second type":    {"Content-Type: text/plain\r\nContent-Type: application/octet-stream\r\n" + sized("4a"), false, 200, "ok", []string{"a"}, open},
		"octets":                     {"Content-Type: application/octet-stream\r\n" + sized("4a"), false, 400, "", nil, engine.TransportError},
		"octets, and none":           {"Content-Type: application/octet-stream\r\n" + sized(""), false, 400, "", nil, engine.TransportError},
		"a form":                     {"Content-Type: " + formType + "\r\n" + sized("d=4a"), false, 200, "ok", nil, engine.ParseError},
		"a form of many parts": {"Content-Type: multipart/form-data; boundary=x\r\n" +
			sized("--x\r\nContent-Disposition: form-data; name=\"d\"\r\n\r\n4a\r\n--x--\r\n"), false, 200, "ok", nil, engine.ParseError},
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			sid, o := s.open()
			poll := s.pollLater(sid)
			version := "1.1"
			if name == "of HTTP/1.0" {
				version = "1.0"
			}
			a := s.raw(fmt.Sprintf("POST /engine.io/?%s HTTP/%s\r\nHost: x\r\n%s", ofPolling(sid), version, tt.request), tt.cut)
			wantAnswer(t, a, tt.status, tt.body)
			if tt.fate != open {
				o.wantEnded(tt.fate)
				wantAnswer(t, <-poll, 200, "1")
			}
			o.wantReceived(tt.received...)
			if tt.fate == open {
				o.wantOpen()
				o.session.Close()
				wantAnswer(t, <-poll, 200, "1")
			}
			s.wantNothingLeft()
		})
	}
}

// Every method, on sessions in various states.
func TestRequestsOfSessionsThatAreNotPolling(t *testing.T) {
	const octets = "application/octet-stream"
	requests := []struct{ method, query, contentType string }{
		{"GET", newPolling, ""},
		{"POST", newPolling, ""},
		{"POST", newPolling, octets},
		{"PUT", newPolling, ""},
		{"FOO", newPolling, ""},
		{"HEAD", newPolling, ""},
		{"GET", newPolling + "&j=0", ""},
		{"GET", newWebSocket, ""},
		{"POST", newWebSocket, ""},
		{"WebSocket", newWebSocket, ""},
		{"WebSocket", newPolling, ""},
	}
	check := func(s *server, sid, state string, statuses []int, bodies []string) {
		s.t.Helper()
		for i, r := range requests {
			query := r.query + "&sid=" + sid
			var a answer
			switch {
			case r.method == "WebSocket" && statuses[i] == 101:
				s.upgrade(query).wantClose(ws.CloseNoStatus, "")
				continue
			case r.method == "WebSocket":
				a = s.refused(query)
			case r.contentType != "":
				a = s.do(r.method, query, "4a", "Content-Type", r.contentType)
			default:
				a = s.do(r.method, query, "4a")
			}
			if a.status != statuses[i] || a.body != bodies[i] {
				s.t.Errorf("%s: %s %s %s: %d %q, want %d %q", state, r.method, r.query, r.contentType, a.status, a.body, statuses[i], bodies[i])
			}
		}
	}
	same := func(status int, body string) (statuses []int, bodies []string) {
		for _, r := range requests {
			statuses, bodies = append(statuses, status), append(bodies, body)
			if r.method == "HEAD" {
				bodies[len(bodies)-1] = ""
			}
		}
		return statuses, bodies
	}
	unknown, text := same(400, unknownSession)
	text[9], text[10] = "Session ID unknown", "Session ID unknown"
	bubble(t, "ended", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true})
		for name, end := range map[string]func(sid string, o *owner){
			"by its client":   func(sid string, o *owner) { s.post(sid, "1"); time.Sleep(2 * time.Second) },
			"by the server":   func(sid string, o *owner) { o.session.Close(); s.poll(sid) },
			"by a fault":      func(sid string, o *owner) { s.post(sid, "garbage") },
			"for its silence": func(sid string, o *owner) { time.Sleep(interval + timeout + slack) },
		} {
			sid, o := s.open()
			end(sid, o)
			check(s, sid, name, unknown, text)
			if o.isOpen() {
				t.Errorf("%s: still open", name)
			}
			o.wantReceived()
		}
		s.wantNothingLeft()
	})
	bubble(t, "closed, with something to fetch", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true})
		sid, o := s.open()
		o.send("a")
		o.session.Close()
		check(s, sid, "closed", // the first poll has the message, the next one the farewell
			[]int{200, 400, 400, 405, 405, 405, 200, 400, 400, 400, 400},
			[]string{"4a", unknownSession, unknownSession, badRequest, badRequest, "", "1", unknownSession, unknownSession, "Session ID unknown", "Session ID unknown"})
		o.wantReceived()
		s.wantNothingLeft()
	})
	bubble(t, "upgraded", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true, Open: echo})
		sid, o := s.open()
		p := s.upgradeFrom(sid)
		p.text("4a")
		p.wantText("4a")
		mismatch, bodies := same(400, badRequest)
		mismatch[7], bodies[7] = 400, badRequest
		mismatch[8], bodies[8] = 400, badRequest
		mismatch[9], mismatch[10] = 101, 101
		check(s, sid, "upgraded", mismatch, bodies)
		p.text("4b")
		p.wantText("4b")
		o.wantReceived("a", "b")
		p.Close()
		o.wantEnded(engine.TransportClose)
		s.wantNothingLeft()
	})
	bubble(t, "on a WebSocket from the beginning", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true, Open: echo})
		p, o := s.openWebSocket()
		mismatch, bodies := same(400, badRequest)
		mismatch[9], mismatch[10] = 101, 101
		check(s, o.session.ID(), "WebSocket", mismatch, bodies)
		p.text("4b")
		p.wantText("4b")
		p.Close()
		o.wantEnded(engine.TransportClose)
		s.wantNothingLeft()
	})
}

// A WebSocket's opening handshake, for a new session or an upgrade. A faulty one leaves nothing
// behind, and an existing session continues.
func TestMalformedWebSocketHandshakes(t *testing.T) {
	const (
		key      = "Sec-Websocket-Key"
		badKey   = "Sec-WebSocket-Key must be 16 bytes in base64, once\n"
		version  = "only WebSocket version 13 is spoken here\n"
		notOne   = "a WebSocket handshake needs Connection: Upgrade and Upgrade: websocket\n"
		badOffer = "malformed Sec-WebSocket-Extensions\n"
	)
	header := func(lines ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(lines); i += 2 {
				if r.Header.Del(lines[i]); lines[i+1] != "" {
					r.Header[lines[i]] = strings.Split(lines[i+1], "|")
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(*http.Request)
		status int
		body   string
	}{
		"no key":                    {header(key, ""), 400, badKey},
		"an empty key":              {header(key, " "), 400, badKey},
		"a short key":               {header(key, "abc"), 400, badKey},
		"a key of 15 bytes":         {header(key, "dGhlIHNhbXBsZSBub25j"), 400, badKey},
		"a key of 17 bytes":         {header(key, "dGhlIHNhbXBsZSBub25jZSE="), 400, badKey},
		"a key of a megabyte":       {header(key, long(900_000)), 400, badKey},
		"a key without padding":     {header(key, "dGhlIHNhbXBsZSBub25jZQ"), 400, badKey},
		"a key for URLs":            {header(key, "dGhlIHNhbXBsZSBub2_-ZQ=="), 400, badKey},
		"two keys":                  {header(key, "dGhlIHNhbXBsZSBub25jZQ==|dGhlIHNhbXBsZSBub25jZQ=="), 400, badKey},
		"no version":                {header("Sec-Websocket-Version", ""), 426, version},
		"an old version":            {header("Sec-Websocket-Version", "8"), 426, version},
		"a list of versions":        {header("Sec-Websocket-Version", "13, 8"), 426, version},
		"two versions":              {header("Sec-Websocket-Version", "13|13"), 426, version},
		"a version that is none":    {header("Sec-Websocket-Version", "x"), 426, version},
		"another protocol":          {header("Upgrade", "h2c"), 426, notOne},
		"nearly the protocol":       {header("Upgrade", "websocket2"), 426, notOne},
		"an empty upgrade":          {header("Upgrade", " "), 426, notOne},
		"bad extensions":            {header("Sec-Websocket-Extensions", "a;;"), 400, badOffer},
		"an extension without name": {header("Sec-Websocket-Extensions", ";a"), 400, badOffer},
		"a quote without end":       {header("Sec-Websocket-Extensions", `a; b="c`), 400, badOffer},
		"another origin":            {header("Origin", "https://evil.test"), 403, "Origin not allowed"},
		"no origin but its name":    {header("Origin", " "), 403, "Origin not allowed"},
		"two origins":               {header("Origin", "http://parley.test|http://parley.test"), 403, "Origin not allowed"},
		"a sandbox's origin":        {header("Origin", "null"), 403, "Origin not allowed"},
		"a body":                    {func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("4a")), 2 }, 400, "a WebSocket handshake has no body\n"},
		"a body in chunks":          {func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("4a")), -1 }, 400, "a WebSocket handshake has no body\n"},
		"no connection":             {header("Connection", ""), 400, badRequest},
		"another connection":        {header("Connection", "keep-alive"), 400, badRequest},
		"no upgrade":                {header("Upgrade", ""), 400, badRequest},
		"an unknown transport":      {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "websocket", "abc", 1) }, 400, "Transport unknown"},
		"no transport":              {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "transport", "x", 1) }, 400, "Transport unknown"},
		"an unknown session":        {func(r *http.Request) { r.URL.RawQuery += "&sid=abc" }, 400, "Session ID unknown"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: echo})
			sid, o := s.open()
			for i, query := range []string{newWebSocket, ofWebSocket(sid)} {
				r := s.handshake(query)
				tt.change(r)
				p := s.send(r)
				body, _ := io.ReadAll(p.resp.Body)
				if p.Close(); p.resp.StatusCode != tt.status || string(body) != tt.body {
					t.Errorf("%s: answer %d %q, want %d %q", query, p.resp.StatusCode, body, tt.status, tt.body)
				}
				if tt.status == 426 && (p.resp.Header.Get("Upgrade") != "websocket" || p.resp.Header.Get("Sec-Websocket-Version") != "13") {
					t.Errorf("%s: header %v", query, p.resp.Header)
				}
				if n := s.Stats().RefusedInAll(); n != uint64(i+1) {
					t.Errorf("%d refused, want %d", n, i+1)
				}
			}
			synctest.Wait()
			if n := s.Conns(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
			s.stillWorks(sid)
			p := s.upgradeFrom(sid)
			p.text("4b")
			p.wantText("4b")
			p.Close()
			o.wantEnded(engine.TransportClose)
			o.wantReceived("works", "b")
			s.wantNothingLeft()
		})
	}
	const lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for name, tt := range map[string]struct {
		first, sid string // the first line has %s in place of the query
		status     int
		body       string
	}{
		"HTTP/1.0":             {"GET /?%s HTTP/1.0", "", 400, "a WebSocket handshake needs HTTP/1.1\n"},
		"POST":                 {"POST /?%s HTTP/1.1", "", 400, "Bad handshake method"},
		"OPTIONS":              {"OPTIONS /?%s HTTP/1.1", "", 400, "Bad handshake method"},
		"HTTP/1.0, an upgrade": {"GET /?%s HTTP/1.0", "SID", 400, "a WebSocket handshake needs HTTP/1.1\n"},
		"POST, an upgrade":     {"POST /?%s HTTP/1.1", "SID", 405, "a WebSocket handshake is a GET request\n"},
		"PUT, an upgrade":      {"PUT /?%s HTTP/1.1", "SID", 405, "a WebSocket handshake is a GET request\n"},
		"OPTIONS, an upgrade":  {"OPTIONS /?%s HTTP/1.1", "SID", 405, "a WebSocket handshake is a GET request\n"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: echo})
			sid, o := s.open()
			query := newWebSocket
			if tt.sid != "" {
				query = ofWebSocket(sid)
			}
			wantAnswer(t, s.raw(fmt.Sprintf(tt.first, query)+"\r\nHost: parley.test\r\n"+lines, false), tt.status, tt.body)
			o.wantReceived()
			s.stillWorks(sid)
			s.finish(ofPolling(sid), o, "1")
		})
	}
	bubble(t, "what is harmless", func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		for _, change := range []func(*http.Request){
			header("Connection", "keep-alive, UPGRADE", "Upgrade", "h2c, WebSocket"),
			header("Connection", "keep-alive|upgrade"),
			header("Sec-Websocket-Extensions", `permessage-deflate; client_max_window_bits, x; y="z"`, "Sec-Websocket-Protocol", "chat"),
			header("Content-Length", "0"),
			header("Content-Type", "application/octet-stream"),
		} {
			r := s.handshake(newWebSocket)
			change(r)
			p := s.send(r)
			if p.resp.StatusCode != 101 || p.resp.Header.Get("Sec-Websocket-Extensions") != "" || p.resp.Header.Get("Sec-Websocket-Protocol") != r.Header.Get("Sec-Websocket-Protocol") {
				t.Errorf("%v: %d, %v", r.Header, p.resp.StatusCode, p.resp.Header)
			}
			p.read()
			p.text("4a")
			p.wantText("4a")
			p.Close()
		}
		s.wantNothingLeft()
	})
}

// Frames that RFC 6455 forbids. They end the session of their WebSocket, but not a session that the
// WebSocket would upgrade.
func TestMalformedFrames(t *testing.T) {
	frame := func(first byte, payload string) string {
		b := ws.AppendMaskedFrame(nil, ws.OpText, []byte(payload))
		b[0] = first
		return string(b)
	}
	for name, tt := range map[string]struct {
		bytes string
		code  int
	}{
		"not masked":                           {"\x81\x024a", ws.CloseProtocolError},
		"RSV1 without compression":             {frame(0xc1, "4a"), ws.CloseProtocolError},
		"RSV2":                                 {frame(0xa1, "4a"), ws.CloseProtocolError},
		"RSV3":                                 {frame(0x91, "4a"), ws.CloseProtocolError},
		"opcode 7":                             {frame(0x87, "4a"), ws.CloseProtocolError},
		"opcode 15":                            {frame(0x8f, "4a"), ws.CloseProtocolError},
		"a ping in fragments":                  {frame(0x09, "a"), ws.CloseProtocolError},
		"a Close frame in fragments":           {frame(0x08, ""), ws.CloseProtocolError},
		"a message within a message":           {frame(0x01, "4a") + frame(0x81, "4b"), ws.CloseProtocolError},
		"a continuation of nothing":            {frame(0x80, "4a"), ws.CloseProtocolError},
		"a length that needs no 2 bytes":       {"\x81\xfe\x00\x02", ws.CloseProtocolError},
		"a length that needs no 8 bytes":       {"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x02", ws.CloseProtocolError},
		"a negative length":                    {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", ws.CloseProtocolError},
		"a length over the limit":              {"\x81\xff\x00\x00\x00\x00\x00\x0f\x42\x41", ws.CloseMessageTooBig},
		"fragments that are together too long": {frame(0x01, "4"+long(600_000)) + frame(0x80, long(600_000)), ws.CloseMessageTooBig},
		"invalid UTF-8":                        {frame(0x81, "4\xff"), ws.CloseInvalidData},
		"UTF-8 cut off":                        {frame(0x81, "4\xe2\x82"), ws.CloseInvalidData},
		"invalid UTF-8 in the second fragment": {frame(0x01, "4\xe2") + frame(0x80, "\x28"), ws.CloseInvalidData},
		"a Close frame with one byte":          {frame(0x88, "x"), ws.CloseProtocolError},
		"a Close frame with a reserved code":   {frame(0x88, "\x03\xee"), ws.CloseProtocolError},
		"a Close frame with invalid UTF-8":     {frame(0x88, "\x03\xe8\xff"), ws.CloseInvalidData},
		"a Close frame that is too long":       {frame(0x88, "\x03\xe8"+long(124)), ws.CloseProtocolError},
		"HTTP":                                 {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ws.CloseProtocolError},
	} {
		for _, candidate := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, candidate %v", name, candidate), func(t *testing.T) {
				s := inMemory(t, engine.Options{Open: echo})
				var sid string
				var p *peer
				var o *owner
				if candidate {
					sid, o = s.open()
					p = s.upgrade(ofWebSocket(sid))
				} else {
					p, o = s.openWebSocket()
				}
				go p.Write([]byte(tt.bytes))
				op, payload := p.read()
				if code, reason := ws.ParseClose([]byte(payload)); op != ws.OpClose || code != tt.code || reason != "" {
					t.Errorf("frame %v %q, want Close %d without a reason", op, payload, tt.code)
				}
				p.Close()
				o.wantReceived()
				if !candidate {
					o.wantEnded(engine.TransportError)
					s.wantNothingLeft()
					return
				}
				s.stillWorks(sid)
				synctest.Wait()
				p = s.upgradeFrom(sid)
				p.text("4b")
				p.wantText("4b")
				p.Close()
				o.wantEnded(engine.TransportClose)
				s.wantNothingLeft()
			})
		}
	}
	for name, cut := range map[string]string{
		"nothing": "", "half a header": "\x81", "a header": "\x81\x82\x00\x00\x00\x00", "half a frame": frame(0x81, "4abc")[:8], "half a message": frame(0x01, "4a"),
	} {
		for _, candidate := range []bool{false, true} {
			bubble(t, fmt.Sprintf("cut off after %s, candidate %v", name, candidate), func(t *testing.T) {
				s := inMemory(t, engine.Options{Open: echo})
				var sid string
				var p *peer
				var o *owner
				if candidate {
					sid, o = s.open()
					p = s.upgrade(ofWebSocket(sid))
				} else {
					p, o = s.openWebSocket()
				}
				io.WriteString(p, cut)
				p.Close()
				if !candidate {
					o.wantEnded(engine.TransportClose)
					o.wantReceived()
					s.wantNothingLeft()
					return
				}
				synctest.Wait()
				o.wantReceived()
				s.stillWorks(sid)
				s.finish(ofPolling(sid), o, "1")
			})
		}
	}
}

// Two simultaneous polls, or posts, end a session of every kind. The first of the two gets an
// answer.
func TestOverlapsInEveryKindOfPolling(t *testing.T) {
	for name, tt := range map[string]struct{ query, post, farewell string }{
		"revision 4":        {newPolling, "4a", "1"},
		"revision 3":        {newPolling3, "2:4a", "1:1"},
		"revision 3, b64":   {newPolling3 + "&b64=1", "2:4a", "1:1"},
		"JSONP":             {newPolling + "&j=3", form("4a"), `/**/___eio[3]("1");`},
		"JSONP, revision 3": {newPolling3 + "&j=3", form("2:4a"), `/**/___eio[3]("1:1");`},
	} {
		start := func(t *testing.T) (s *server, query string, o *owner) {
			s = inMemory(t, engine.Options{AllowEIO3: true, JSONP: true})
			if a := s.do("GET", tt.query, ""); a.status != 200 {
				t.Fatalf("handshake: %d %s", a.status, a.body)
			}
			o = s.owner()
			return s, tt.query + "&sid=" + o.session.ID(), o
		}
		bubble(t, "polls, "+name, func(t *testing.T) {
			s, q, o := start(t)
			first := s.later(q)
			wantAnswer(t, s.do("GET", q, ""), 400, "")
			wantAnswer(t, <-first, 200, tt.farewell)
			o.wantEnded(engine.TransportError)
			wantRefusal(t, s.do("GET", q, ""), 400, unknownSession)
			s.wantNothingLeft()
		})
		bubble(t, "posts, "+name, func(t *testing.T) {
			s, q, o := start(t)
			poll := s.later(q)
			r, w := slowBody()
			first := make(chan answer)
			go func() {
				a, _ := s.try("POST", q, r)
				first <- a
			}()
			io.WriteString(w, tt.post[:1])
			synctest.Wait()
			wantAnswer(t, s.do("POST", q, tt.post), 400, "")
			wantAnswer(t, <-poll, 200, tt.farewell)
			o.wantEnded(engine.TransportError)
			io.WriteString(w, tt.post[1:])
			w.Close()
			wantAnswer(t, <-first, 200, "ok")
			o.wantReceived()
			wantRefusal(t, s.do("POST", q, tt.post), 400, unknownSession)
			s.wantNothingLeft()
		})
	}
}

func TestMalformedOverHTTP2(t *testing.T) {
	s := overTLS(t, engine.Options{Open: echo})
	wantRefusal(t, s.do("GET", newWebSocket, ""), 400, badRequest)
	wantRefusal(t, s.do("GET", "EIO=4", ""), 400, unknownTransport)
	wantRefusal(t, s.do("POST", newPolling, "4a"), 400, badMethod)
	sid, o := s.open()
	wantRefusal(t, s.do("GET", ofWebSocket(sid), ""), 400, badRequest)
	wantAnswer(t, s.do("PUT", ofPolling(sid), ""), 405, badRequest)
	wantAnswer(t, s.post(sid, "4"+long(1_000_000)), 413, "")
	s.stillWorks(sid)
	r, w := slowBody()
	go s.try("POST", ofPolling(sid), r)
	io.WriteString(w, "4a")
	w.CloseWithError(io.ErrUnexpectedEOF) // the stream is reset
	o.wantEnded(engine.TransportError)
	o.wantReceived("works")
	wantRefusal(t, s.post(sid, "4a"), 400, unknownSession)
	s.wantSessions(0)
}
