package ws_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

// handshake is the request of RFC 6455 1.3, without Origin.
const handshake = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n" +
	"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

func request(t testing.TB, head string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAcceptRefuses(t *testing.T) {
	tests := []struct {
		name      string
		old, new  string // replaced in the handshake
		status    int
		body      string
		header    string
		headerVal string
	}{
		{"method", "GET", "POST", 405, "GET request", "Allow", "GET"},
		{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 400, "HTTP/1.1", "", ""},
		{"no Connection", "Connection: Upgrade\r\n", "", 426, "Connection: Upgrade", "Upgrade", "websocket"},
		{"other Connection", "Connection: Upgrade", "Connection: keep-alive", 426, "Connection: Upgrade", "Upgrade", "websocket"},
		{"part of a token", "Connection: Upgrade", "Connection: upgraded", 426, "Connection: Upgrade", "Upgrade", "websocket"},
		{"no Upgrade", "Upgrade: websocket\r\n", "", 426, "Upgrade: websocket", "Upgrade", "websocket"},
		{"other Upgrade", "Upgrade: websocket", "Upgrade: h2c", 426, "Upgrade: websocket", "Upgrade", "websocket"},
		{"no version", "Sec-WebSocket-Version: 13\r\n", "", 426, "version 13", "Sec-Websocket-Version", "13"},
		{"old version", "Version: 13", "Version: 8", 426, "version 13", "Sec-Websocket-Version", "13"},
		{"two versions", "Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13", 426, "version 13", "Sec-Websocket-Version", "13"},
		{"no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400, "Sec-WebSocket-Key", "", ""},
		{"two keys", "Version: 13", "Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400, "Sec-WebSocket-Key", "", ""},
		{"short key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 400, "Sec-WebSocket-Key", "", ""},
		{"long key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSEh", 400, "Sec-WebSocket-Key", "", ""},
		{"key not base64", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q==", 400, "Sec-WebSocket-Key", "", ""},
		{"empty Host", "Host: server.example.com", "Host:", 400, "Host", "", ""},
		{"body", "Version: 13", "Version: 13\r\nContent-Length: 5", 400, "no body", "", ""},
		{"chunked body", "Version: 13", "Version: 13\r\nTransfer-Encoding: chunked", 400, "no body", "", ""},
		{"origin", "Version: 13", "Version: 13\r\nOrigin: http://evil.example", 403, "origin", "", ""},
		{"extensions", "Version: 13", "Version: 13\r\nSec-WebSocket-Extensions: foo bar", 400, "Sec-WebSocket-Extensions", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			head := strings.Replace(handshake, test.old, test.new, 1)
			if head == handshake {
				t.Fatal("the request is still good")
			}
			a, err := ws.Accept(request(t, head), nil)
			var refused *ws.HandshakeError
			if a != nil || !errors.As(err, &refused) {
				t.Fatalf("got %v, %v, want a HandshakeError", a, err)
			}
			rec := httptest.NewRecorder()
			refused.Respond(rec)
			if rec.Code != test.status || !strings.Contains(rec.Body.String(), test.body) {
				t.Errorf("answer %d %q, want %d with %q", rec.Code, rec.Body, test.status, test.body)
			}
			if got := rec.Header().Get(test.header); test.header != "" && got != test.headerVal {
				t.Errorf("%s: %q, want %q", test.header, got, test.headerVal)
			}
		})
	}
}

func TestAcceptResponse(t *testing.T) {
	const start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" // RFC 6455, 1.3
	all := &ws.AcceptOptions{Subprotocols: []string{"superchat", "chat"}, Compression: &ws.Compression{}}
	whichever := &ws.AcceptOptions{Subprotocols: []string{"chat"}, AnySubprotocol: true}
	tests := []struct {
		name     string
		old, new string
		o        *ws.AcceptOptions
		header   http.Header
		want     string
	}{
		{"plain", "", "", nil, nil, ""},
		{"token lists and case", "Upgrade: websocket\r\nConnection: Upgrade", "upgrade: h2c\r\nUPGRADE: foo,WebSocket\r\nConnection: keep-alive , UPGRADE", nil, nil, ""},
		{"nothing offered", "", "", all, nil, ""},
		{"nothing supported", "Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate", nil, nil, ""},
		{"subprotocol", "Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: a, chat", all, nil, "Sec-WebSocket-Protocol: chat\r\n"},
		{"server's choice of subprotocol", "Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat", all, nil, "Sec-WebSocket-Protocol: superchat\r\n"},
		{"subprotocols are case-sensitive", "Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: Chat", all, nil, ""},
		{"any subprotocol", "Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c", whichever, nil, "Sec-WebSocket-Protocol: a\r\n"},
		{"any subprotocol, one of them known", "Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: a, chat", whichever, nil, "Sec-WebSocket-Protocol: chat\r\n"},
		{"any subprotocol that is a token", "Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: a b", whichever, nil, ""},
		{"any subprotocol, none offered", "", "", whichever, nil, ""},
		{"compression", "Version: 13", "Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate", all, nil, "Sec-WebSocket-Extensions: permessage-deflate\r\n"},
		{"further fields", "", "", nil, http.Header{"Set-Cookie": {"io=1\r\nEvil: 1"}}, "Set-Cookie: io=1  Evil: 1\r\n"},
		{"fields that are the handshake's", "", "", nil, http.Header{
			"Connection": {"close"}, "Upgrade": {"h2c"}, "Sec-Websocket-Accept": {"x"}, "Sec-Websocket-Protocol": {"x"},
			"Content-Length": {"5"}, "Content-Type": {"text/html"}, "Transfer-Encoding": {"chunked"}, "X-Other": {"a", "b"},
		}, "X-Other: a\r\nX-Other: b\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, err := ws.Accept(request(t, strings.Replace(handshake, test.old, test.new, 1)), test.o)
			if err != nil {
				t.Fatal(err)
			}
			a.Header = test.header
			if got, want := string(a.AppendResponse([]byte("dst"))), "dst"+start+test.want+"\r\n"; got != want {
				t.Errorf("response:\n got %q\nwant %q", got, want)
			}
		})
	}
}

func TestCheckOriginOption(t *testing.T) {
	r := request(t, handshake+"Origin: https://evil.example\r\n")
	allow := func(*http.Request) bool { return true }
	if _, err := ws.Accept(r, &ws.AcceptOptions{CheckOrigin: allow}); err != nil {
		t.Errorf("allowed origin: %v", err)
	}
}

func TestAcceptOverHTTP2(t *testing.T) {
	r := httptest.NewRequest("CONNECT", "https://server.example.com/chat", nil)
	r.ProtoMajor, r.ProtoMinor = 2, 0
	r.Header = http.Header{
		":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Protocol": {"a, b"}, "Sec-Websocket-Extensions": {"permessage-deflate"},
	}
	a, err := ws.Accept(r, &ws.AcceptOptions{Subprotocols: []string{"b"}, Compression: &ws.Compression{}})
	if err != nil {
		t.Fatal(err)
	}
	a.Header = http.Header{"Set-Cookie": {"a=b"}, "Content-Type": {"text/html"}}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "5")
	a.WriteHeader(w)
	for name, want := range map[string]string{"Sec-WebSocket-Protocol": "b", "Sec-WebSocket-Extensions": "permessage-deflate", "Set-Cookie": "a=b", "Content-Length": "", "Content-Type": ""} {
		if got := w.Header().Get(name); w.Code != 200 || got != want {
			t.Errorf("status %d, %s: %q", w.Code, name, got)
		}
	}
	r.Header.Set("Origin", "http://evil.example")
	if _, err := ws.Accept(r, nil); err == nil {
		t.Error("any origin may connect")
	}
	r.Header.Del("Origin")
	r.Header.Set("Sec-Websocket-Version", "8")
	var refused *ws.HandshakeError
	if _, err := ws.Accept(r, nil); !errors.As(err, &refused) || refused.Status != 400 || refused.Header.Get("Upgrade") != "" || refused.Header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("another version: %v, %+v", err, refused)
	}
	r.Header[":protocol"] = []string{"connect-udp"}
	if _, err := ws.Accept(r, nil); err == nil || ws.OverHTTP2(r) {
		t.Error("another protocol is accepted as a WebSocket")
	}
}
