package ws_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// answer dials a server that answers any handshake with head. In head, ACCEPT stands for the correct
// key.
func answer(t *testing.T, head string, o ws.DialOptions) (*http.Response, error) {
	t.Helper()
	var conn *ws.Conn
	var resp *http.Response
	var err error
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		o.NetDial = func(context.Context, string, string) (net.Conn, error) { return client, nil }
		go func() {
			defer server.Close()
			r := request(t, readHead(server))
			a, err := ws.Accept(r, nil)
			if err != nil {
				t.Errorf("our own request is refused: %v", err)
				return
			}
			_, key, _ := strings.Cut(string(a.AppendResponse(nil)), "Accept: ")
			key, _, _ = strings.Cut(key, "\r\n")
			io.WriteString(server, strings.ReplaceAll(head, "ACCEPT", key))
		}()
		conn, resp, err = ws.Dial(ctx, "ws://server.example.com/chat?room=1", &o)
		if conn != nil {
			conn.CloseNow()
		}
	})
	return resp, err
}

// readHead reads up to the empty line and returns what comes before it.
func readHead(r io.Reader) string {
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); {
		if _, err := r.Read(b); err != nil {
			break
		}
		head = append(head, b[0])
	}
	return strings.TrimSuffix(string(head), "\r\n")
}

func TestDialChecksResponse(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
	protocols := ws.DialOptions{Subprotocols: []string{"chat", "superchat"}}
	deflate := ws.DialOptions{Compression: &ws.Compression{}}
	demanding := ws.DialOptions{Compression: &ws.Compression{NoServerContextTakeover: true, ServerMaxWindowBits: 10}}
	extension := func(s string) string { return good + "Sec-WebSocket-Extensions: " + s + "\r\n\r\n" }
	tests := []struct {
		name, head string
		o          ws.DialOptions
		err        string // empty for none
	}{
		{"good", good + "\r\n", ws.DialOptions{}, ""},
		{"case", strings.NewReplacer("websocket", "WebSocket", "Connection: Upgrade", "Connection: keep-alive, upgrade").Replace(good) + "\r\n", ws.DialOptions{}, ""},
		{"subprotocol", good + "Sec-WebSocket-Protocol: superchat\r\n\r\n", protocols, ""},
		{"no subprotocol", good + "\r\n", protocols, ""},
		{"compression", extension("permessage-deflate"), deflate, ""},
		{"compression declined", good + "\r\n", deflate, ""},
		{"server limits itself", extension("permessage-deflate; server_no_context_takeover; server_max_window_bits=8"), deflate, ""},
		{"server limits us", extension("permessage-deflate; client_no_context_takeover; client_max_window_bits=8"), deflate, ""},
		{"demands met", extension("permessage-deflate; server_no_context_takeover; server_max_window_bits=9"), demanding, ""},

		{"status 200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", ws.DialOptions{}, "status 200"},
		{"status 403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", ws.DialOptions{}, "status 403"},
		{"status 302", "HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\nContent-Length: 2\r\n\r\nno", ws.DialOptions{}, "status 302"},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", ws.DialOptions{}, "read handshake"},
		{"nothing", "", ws.DialOptions{}, "read handshake"},
		{"endless head", "HTTP/1.1 101 OK\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n", ws.DialOptions{}, "read handshake"},
		{"no Upgrade", strings.Replace(good, "Upgrade: websocket\r\n", "", 1) + "\r\n", ws.DialOptions{}, "lacks Upgrade"},
		{"other Upgrade", strings.Replace(good, "websocket", "h2c", 1) + "\r\n", ws.DialOptions{}, "lacks Upgrade"},
		{"no Connection", strings.Replace(good, "Connection: Upgrade\r\n", "", 1) + "\r\n", ws.DialOptions{}, "lacks Connection"},
		{"no key", strings.Replace(good, "Sec-WebSocket-Accept: ACCEPT\r\n", "", 1) + "\r\n", ws.DialOptions{}, "Sec-WebSocket-Accept"},
		{"wrong key", strings.Replace(good, "ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1) + "\r\n", ws.DialOptions{}, "Sec-WebSocket-Accept"},
		{"two keys", good + "Sec-WebSocket-Accept: ACCEPT\r\n\r\n", ws.DialOptions{}, "Sec-WebSocket-Accept"},
		{"subprotocol not offered", good + "Sec-WebSocket-Protocol: chat\r\n\r\n", ws.DialOptions{}, "subprotocol"},
		{"other subprotocol", good + "Sec-WebSocket-Protocol: Chat\r\n\r\n", protocols, "subprotocol"},
		{"two subprotocols", good + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat\r\n\r\n", protocols, "subprotocol"},
		{"extension not offered", extension("permessage-deflate"), ws.DialOptions{}, "not offered"},
		{"other extension", extension("foo"), deflate, "not offered"},
		{"two extensions", extension("permessage-deflate, permessage-deflate"), deflate, "not offered"},
		{"malformed extension", extension("permessage-deflate; ="), deflate, "malformed"},
		{"unknown parameter", extension("permessage-deflate; foo"), deflate, "parameters"},
		{"bits without value", extension("permessage-deflate; client_max_window_bits"), deflate, "parameters"},
		{"takeover kept", extension("permessage-deflate; server_max_window_bits=9"), demanding, "parameters"},
		{"window kept", extension("permessage-deflate; server_no_context_takeover"), demanding, "parameters"},
		{"window too large", extension("permessage-deflate; server_no_context_takeover; server_max_window_bits=11"), demanding, "parameters"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			resp, err := answer(t, test.head, test.o)
			switch {
			case test.err == "" && err != nil:
				t.Errorf("error %v", err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("error %v, want one with %q", err, test.err)
			}
			if strings.HasPrefix(test.name, "status") {
				if body, _ := io.ReadAll(resp.Body); string(body) != "no" {
					t.Errorf("body %q", body)
				}
			}
		})
	}
}

func TestDialRequest(t *testing.T) {
	var got *http.Request
	address := serve(t, &ws.AcceptOptions{Subprotocols: []string{"b"}, CheckOrigin: func(r *http.Request) bool {
		got = r
		return true
	}}, func(*ws.Conn) {})
	c, resp, err := ws.Dial(ctx, strings.Replace(address, "ws://", "ws://user:secret@", 1)+"/path?q=1", &ws.DialOptions{
		Header:       http.Header{"Origin": {"http://example.com"}, "Host": {"example.com"}},
		Subprotocols: []string{"a", "b"},
		Compression:  &ws.Compression{NoServerContextTakeover: true, ServerMaxWindowBits: 12},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if resp.Header.Get("Sec-WebSocket-Protocol") != "b" {
		t.Errorf("response %v", resp.Header)
	}
	user, password, _ := got.BasicAuth()
	if got.URL.String() != "/path?q=1" || got.Host != "example.com" || user != "user" || password != "secret" {
		t.Errorf("request for %s on %s by %s:%s", got.URL, got.Host, user, password)
	}
	for name, want := range map[string]string{
		"Origin":                   "http://example.com",
		"Sec-WebSocket-Protocol":   "a, b",
		"Sec-WebSocket-Extensions": "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
		}
	}
}

func TestDialTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := ws.Accept(r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if c, err := ws.Upgrade(w, a, nil); err == nil {
			echo(c)
		}
	}))
	defer srv.Close()
	address := "wss" + strings.TrimPrefix(srv.URL, "https")
	if _, _, err := ws.Dial(ctx, address, nil); err == nil {
		t.Fatal("an untrusted certificate is accepted")
	}
	c, _, err := ws.Dial(ctx, address, &ws.DialOptions{TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteMessage(ctx, ws.OpText, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if _, payload, err := c.ReadMessage(ctx); err != nil || string(payload) != "hi" {
		t.Errorf("got %q, %v", payload, err)
	}
	if err := c.Close(ws.CloseNormal, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestDialAddresses(t *testing.T) {
	for _, address := range []string{"", "ftp://example.com", "example.com", "ws://", "ws:///path", "ws://example.com/#x", "ws://ex ample.com"} {
		if _, _, err := ws.Dial(ctx, address, nil); err == nil {
			t.Errorf("Dial accepts the address %q", address)
		}
	}
}

func TestDialContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		go readHead(server) // but never answer
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _, err := ws.Dial(short, "ws://example.com", &ws.DialOptions{
			NetDial: func(context.Context, string, string) (net.Conn, error) { return client, nil },
		})
		if err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			t.Errorf("error %v", err)
		}
	})
}

func TestConnectLeavesParsingToTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		go func() {
			a, err := ws.Accept(request(t, readHead(server)), nil)
			if err != nil {
				t.Error(err)
				return
			}
			server.Write(ws.AppendFrame(a.AppendResponse(nil), ws.OpText, []byte("first"))) // in one piece
			server.Write(ws.AppendFrame(nil, ws.OpText, []byte("second")))
		}()
		c, _, err := ws.Connect(ctx, "ws://example.com", &ws.DialOptions{
			NetDial: func(context.Context, string, string) (net.Conn, error) { return client, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Conn.Close()
		if want := ws.AppendFrame(nil, ws.OpText, []byte("first")); string(c.Buffered) != string(want) {
			t.Errorf("buffered %q, want %q", c.Buffered, want)
		}
		rest := make([]byte, 64)
		n, err := c.Conn.Read(rest)
		if want := ws.AppendFrame(nil, ws.OpText, []byte("second")); err != nil || string(rest[:n]) != string(want) {
			t.Errorf("read %q, %v, want %q", rest[:n], err, want)
		}
	})
}
