package parley_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/ws"
)

// answer serves a GET request with h and returns the response's status, header and body.
func answer(t *testing.T, h http.Handler, target string) (int, http.Header, string) {
	t.Helper()
	web := httptest.NewServer(h)
	defer web.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Get(web.URL + target)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func newServer(t *testing.T, o *parley.Options) *parley.Server {
	t.Helper()
	if o == nil {
		o = &parley.Options{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := parley.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

// The path matches whole segments, with and without the trailing slash.
func TestPath(t *testing.T) {
	const handshake = "?EIO=4&transport=polling"
	for path, requests := range map[string]map[string]bool{
		"":            {"/socket.io": true, "/socket.io/": true, "/socket.io/x": true, "/socket.ios": false, "/socket.io.js": false, "/": false, "/x/socket.io/": false, "/socket": false},
		"/ws":         {"/ws": true, "/ws/": true, "/ws/a": true, "/wsfoo": false, "/wsfoo/": false, "/w": false, "/Ws": false},
		"/ws/":        {"/ws": true, "/ws/": true, "/wsfoo": false},
		"/a/b":        {"/a/b/": true, "/a/b": true, "/a/bc": false, "/a": false},
		"/":           {"/": true, "/a": true},
		"/socket.io/": {"/socket%2Eio/": false, "/socket.io%2F": false, "/socket.io%2f": false, "/%73ocket.io": false, "/socket.io/%61": false, "/socket.io/%20": true, "//socket.io/": false},
	} {
		srv := newServer(t, &parley.Options{Path: path})
		for request, want := range requests {
			status, _, body := answer(t, srv, request+handshake)
			if got := status == 200 && strings.HasPrefix(body, "0{"); got != want || !want && status != 404 {
				t.Errorf("path %q, request %q: status %d, %.100q", path, request, status, body)
			}
		}
	}
	if _, err := parley.New(&parley.Options{Path: "ws"}); err == nil {
		t.Error("a path without a slash in front is accepted")
	}
}

// The README's two lines. With only one of them, the mux would redirect clients that omit the
// slash.
func TestBehindTheStandardMux(t *testing.T) {
	srv := newServer(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv)
	for _, path := range []string{"/socket.io", "/socket.io/"} {
		if status, _, body := answer(t, mux, path+"?EIO=4&transport=polling"); status != 200 || !strings.HasPrefix(body, "0{") {
			t.Errorf("%s: status %d, %q", path, status, body)
		}
	}
}

// A request for the wrong path learns the right one.
func TestNotFoundSaysWhere(t *testing.T) {
	log, logged := logBuffer()
	srv := newServer(t, &parley.Options{Path: "/chat/", Logger: log})
	if status, _, body := answer(t, srv, "/socket.io/"); status != 404 || !strings.Contains(body, "/chat/") || strings.Contains(body, "StripPrefix") {
		t.Errorf("another path: %d %q", status, body)
	}
	if logged.Len() > 0 {
		t.Errorf("the log says %q", logged)
	}
	for range 2 {
		status, _, body := answer(t, http.StripPrefix("/chat", srv), "/chat/?EIO=4&transport=polling")
		if status != 404 || !strings.Contains(body, "StripPrefix") {
			t.Errorf("behind StripPrefix: %d %q", status, body)
		}
	}
	if got := logged.String(); strings.Count(got, "StripPrefix") != 1 || !strings.Contains(got, "level=WARN") {
		t.Errorf("the log says %q", got)
	}
	stripped := newServer(t, &parley.Options{Path: "/"})
	if status, _, _ := answer(t, http.StripPrefix("/chat", stripped), "/chat/?EIO=4&transport=polling"); status != 200 {
		t.Errorf("behind StripPrefix with the path /: %d", status)
	}
}

// The reference implementation serves its client below its path. Here, such a request learns where
// to find it.
func TestClientBundle(t *testing.T) {
	srv := newServer(t, nil)
	for name, want := range map[string]struct {
		status                int
		contentType, contents string
	}{
		"socket.io.js":             {200, "text/javascript; charset=utf-8", "throw new Error("},
		"socket.io.min.js":         {200, "text/javascript; charset=utf-8", "throw new Error("},
		"socket.io.msgpack.min.js": {200, "text/javascript; charset=utf-8", "throw new Error("},
		"socket.io.esm.min.js":     {200, "text/javascript; charset=utf-8", "export let io,"},
		"socket.io.min.js.map":     {404, "text/plain; charset=utf-8", "404: "},
		"socket.io.js.map":         {404, "text/plain; charset=utf-8", "404: "},
	} {
		status, header, body := answer(t, srv, "/socket.io/"+name)
		if status != want.status || header.Get("Content-Type") != want.contentType || !strings.HasPrefix(body, want.contents) {
			t.Errorf("%s: %d %s %q", name, status, header.Get("Content-Type"), body)
		}
		if !strings.Contains(body, "https://cdn.socket.io") || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q, %v", name, body, header)
		}
	}
	if status, _, _ := answer(t, srv, "/socket.io/socket.io.js.txt"); status != 400 {
		t.Errorf("another file: %d", status)
	}
}

func TestOriginsThatCanNeverMatch(t *testing.T) {
	for _, origin := range []string{"http://localhost:5173/", "localhost:5173", "https://bücher.example"} {
		_, err := parley.New(&parley.Options{CORS: parley.CORS{Origins: []string{"https://example.com", origin}}})
		if err == nil || !strings.Contains(err.Error(), origin) {
			t.Errorf("%q: error %v", origin, err)
		}
	}
}

func TestStatsOfRefusals(t *testing.T) {
	log, logged := logBuffer()
	srv := newServer(t, &parley.Options{Logger: log})
	answer(t, srv, "/socket.io/?EIO=3&transport=polling")
	refused := srv.Stats().Refused
	if refused["protocol"] != 1 || refused["origin"] != 0 || len(refused) < 5 {
		t.Errorf("refused: %v", refused)
	}
	if got := logged.String(); !strings.Contains(got, "reason=protocol") || !strings.Contains(got, "AllowEIO3") {
		t.Errorf("the log says %q", got)
	}
}

// A client whose handshake is refused sees only what is meant for it.
func TestAllowRequestRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"error":          {fmt.Errorf("wrapped: %w", &parley.Error{Code: "expired", Message: "Log in again"}), `{"code":4,"message":"Log in again"}`},
		"connect error":  {&parley.ConnectError{Message: "Go away"}, `{"code":4,"message":"Go away"}`},
		"any other":      {errors.New("the reason is a secret"), `{"code":4,"message":"Forbidden"}`},
		"a nil of error": {(*parley.Error)(nil), `{"code":4,"message":"Connection refused"}`},
	} {
		srv, _ := serve(t, &parley.Options{AllowRequest: func(*http.Request) error { return tt.err }})
		if status, _, body := answer(t, srv, "/socket.io/?EIO=4&transport=polling"); status != http.StatusForbidden || body != tt.want {
			t.Errorf("%s: %d %s, want %s", name, status, body, tt.want)
		}
	}
}

// A cookie of the handshake, if the server keeps the header.
func TestCookieOfHandshake(t *testing.T) {
	for _, keep := range [][]string{nil, {"Cookie"}, {}} {
		srv, url := serve(t, &parley.Options{KeepHeaders: keep})
		got := make(chan string, 2)
		srv.OnConnection(func(s *parley.Socket) {
			for _, name := range []string{"sid", "other"} {
				c, err := s.Handshake().Cookie(name)
				if err != nil {
					got <- err.Error()
					continue
				}
				got <- c.Value
			}
		})
		conn, _, err := ws.Dial(t.Context(), url+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{Header: http.Header{"Cookie": {"a=b; sid=x1"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if err := conn.WriteMessage(t.Context(), ws.OpText, []byte("40")); err != nil {
			t.Fatal(err)
		}
		want := "x1"
		if keep != nil && len(keep) == 0 {
			want = http.ErrNoCookie.Error()
		}
		if sid, other := await(t, "sid", got), await(t, "other", got); sid != want || other != http.ErrNoCookie.Error() {
			t.Errorf("headers %q: cookie %q, another one %q", keep, sid, other)
		}
	}
}

// At debug level, the log says what happens to each socket.
func TestLogOfSockets(t *testing.T) {
	logger, out := logBuffer()
	srv, url := serve(t, &parley.Options{Logger: logger})
	gone := make(chan bool, 1)
	srv.OnDisconnect(func(*parley.Socket, parley.Reason) { gone <- true })
	c, id := join(t, url, "")
	c.send("41")
	await(t, "disconnection", gone)
	srv.Close()
	for _, want := range []string{
		`msg="parley: socket connected" socket=` + id + ` namespace=/ address=127.0.0.1:`,
		`transport=websocket recovered=false`,
		`msg="parley: socket disconnected" socket=` + id + ` namespace=/ reason="client namespace disconnect" transport=websocket connection_age=`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, out)
		}
	}
}
