package peers_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/peers"
)

// switched returns a handler that switches protocols and hands the connection to f.
func switched(f func(net.Conn, *bufio.Reader)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Upgrade") != "websocket" || r.Method != "GET" {
			http.Error(w, "no upgrade", http.StatusBadRequest)
			return
		}
		h := w.Header().Clone()
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		h.Set("Sec-WebSocket-Accept", "key of "+r.Header.Get("Sec-WebSocket-Key"))
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n")
		h.Write(conn)
		io.WriteString(conn, "\r\n")
		f(conn, rw.Reader)
	}
}

// open asks for a WebSocket, sending more bytes with the request.
func (p *pair) open(more string) (*net.TCPConn, *bufio.Reader, *http.Response) {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /socket.io/?sid=%s HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n%s", p.sid, more)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return conn.(*net.TCPConn), r, resp
}

// echoes sends back what it gets, and says goodbye when there is nothing more.
func echoes(conn net.Conn, r *bufio.Reader) {
	defer conn.Close()
	io.WriteString(conn, "hello ")
	io.Copy(conn, r)
	io.WriteString(conn, " goodbye")
}

func TestTunnel(t *testing.T) {
	p := connect(t, switched(echoes), nil)
	conn, r, resp := p.open("early ")
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", resp.StatusCode)
	}
	for name, want := range map[string]string{
		"Connection": "[Upgrade]", "Upgrade": "[websocket]", "Sec-Websocket-Accept": "[key of k]", "X-Middleware": "[front]", "Parley-Forward": "[]",
	} {
		if got := fmt.Sprint(resp.Header[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// More than fits into any buffer on the way, in both directions at the same time.
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := conn.Write(large); err != nil {
			t.Error(err)
		}
		conn.CloseWrite() // the other direction goes on
	})
	got, err := io.ReadAll(r)
	sending.Wait()
	if want := "hello early " + string(large) + " goodbye"; err != nil || string(got) != want {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	eventually(t, "end of the tunnel", func() bool { return p.front.Stats().Tunnels.Load() == 0 })
	if n := p.front.Stats().Forwarded.Load(); n != 1 {
		t.Errorf("%d forwarded", n)
	}
}

// The owner's end of its direction arrives while the client's goes on.
func TestTunnelHalfClosedByOwner(t *testing.T) {
	heard := make(chan string, 1)
	p := connect(t, switched(func(conn net.Conn, r *bufio.Reader) {
		defer conn.Close()
		io.WriteString(conn, "all")
		conn.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(r)
		heard <- string(b)
	}), nil)
	conn, r, _ := p.open("")
	if got, err := io.ReadAll(r); err != nil || string(got) != "all" {
		t.Fatalf("%q, %v", got, err)
	}
	io.WriteString(conn, "late")
	conn.CloseWrite()
	if got := await(t, "end", heard); got != "late" {
		t.Errorf("the owner got %q", got)
	}
}

// Each end notices when the other one is gone.
func TestTunnelCut(t *testing.T) {
	gone := make(chan error, 1)
	p := connect(t, switched(func(conn net.Conn, r *bufio.Reader) {
		defer conn.Close()
		_, err := r.ReadByte()
		if err == nil {
			conn.(*net.TCPConn).SetLinger(0) // a reset
			return
		}
		gone <- err
	}), nil)
	conn, _, _ := p.open("")
	conn.SetLinger(0)
	conn.Close()
	await(t, "end", gone)
	_, r, _ := p.open("x")
	if b, err := r.ReadByte(); err == nil {
		t.Errorf("read %q", b)
	}
	eventually(t, "end of the tunnels", func() bool { return p.front.Stats().Tunnels.Load() == 0 })
}

func TestTunnelIsSilent(t *testing.T) {
	p := connect(t, switched(echoes), func(front *peers.Options) { front.Silence = 50 * time.Millisecond })
	_, r, _ := p.open("")
	if got, _ := io.ReadAll(r); string(got) != "hello " {
		t.Errorf("got %q", got)
	}
}

// A client that takes nothing does not keep the tunnel.
func TestTunnelIsStuck(t *testing.T) {
	gone := make(chan error, 1)
	p := connect(t, switched(func(conn net.Conn, _ *bufio.Reader) {
		defer conn.Close()
		for {
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				gone <- err
				return
			}
		}
	}), func(front *peers.Options) { front.WriteTimeout = 50 * time.Millisecond })
	p.open("")
	await(t, "end", gone)
}

func TestTunnelRefused(t *testing.T) {
	p := connect(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "x")
		http.Error(w, "Session ID unknown", http.StatusBadRequest)
	}, nil)
	_, _, resp := p.open("")
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || string(b) != "Session ID unknown\n" || fmt.Sprint(resp.Header["Access-Control-Allow-Origin"]) != "[x]" {
		t.Errorf("%d %s, %v", resp.StatusCode, b, resp.Header)
	}
	for _, tt := range []struct {
		why    string
		change func()
	}{
		{"its server is about to leave", func() { p.node.Draining = true }},
		{"its server does not answer", func() { p.node.Draining, p.node.Address = false, "127.0.0.1:1" }},
	} {
		tt.change()
		p.fleet.meet(adapter.Changed, p.node)
		_, _, resp := p.open("")
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusTeapot || string(b) != tt.why {
			t.Errorf("%d %q, want %q", resp.StatusCode, b, tt.why)
		}
	}
	if n := p.front.Stats().Tunnels.Load(); n != 0 {
		t.Errorf("%d tunnels", n)
	}
}

// An owner that accepts the connection and says nothing does not hold a client for ever.
func TestTunnelToNobody(t *testing.T) {
	p := connect(t, echo, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.node.Address = l.Addr().String()
	p.fleet.meet(adapter.Changed, p.node)
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	answered := make(chan answer, 1)
	go func() {
		_, _, resp := p.open("")
		b, _ := io.ReadAll(resp.Body)
		answered <- answer{status: resp.StatusCode, body: string(b)}
	}()
	defer await(t, "connection", accepted).Close()
	p.front.Close(t.Context())
	if a := await(t, "answer", answered); a.body != "this server is about to leave" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

func TestManyTunnels(t *testing.T) {
	sessions := atomic.Int64{}
	sessions.Store(1000)
	p := connect(t, switched(echoes), func(front *peers.Options) { front.Sessions = func() int { return int(sessions.Load()) } })
	for range 21 {
		p.open("")
	}
	if got := p.log.String(); got != "" {
		t.Errorf("logged %s", got)
	}
	sessions.Store(22 * 19)
	p.open("")
	eventually(t, "22 tunnels", func() bool { return p.front.Stats().Tunnels.Load() == 22 })
	if got := p.log.String(); got != "" {
		t.Errorf("logged %s", got)
	}
	sessions.Store(22 * 18)
	p.open("")
	eventually(t, "notice", func() bool {
		got := p.log.String()
		return strings.Contains(got, "many WebSockets pass through this server") && strings.Contains(got, "docs/proxies.md")
	})
}

// Connections to other servers can be over TLS.
func TestTLS(t *testing.T) {
	p := connect(t, echo, func(front *peers.Options) { front.TLS = &tls.Config{} })
	p.wantWhy("GET", "", "its server does not answer", "first record does not look like a TLS handshake")

	authority := httptest.NewTLSServer(nil)
	authority.Close()
	p = connect(t, echo, func(front *peers.Options) {
		front.TLS = authority.Client().Transport.(*http.Transport).TLSClientConfig
	})
	internal := httptest.NewTLSServer(p.owner.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			switched(echoes)(w, r)
			return
		}
		echo(w, r)
	})))
	defer internal.Close()
	p.node.Address = internal.Listener.Addr().String()
	p.fleet.meet(adapter.Changed, p.node)
	if a := p.do(p.request("POST", "4hello")); a.status != 200 || !strings.Contains(a.body, `"4hello"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	conn, r, _ := p.open("secretly")
	conn.CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "hello secretly goodbye" {
		t.Errorf("%q, %v", got, err)
	}
}
