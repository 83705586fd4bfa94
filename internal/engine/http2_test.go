package engine_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

//lint:file-ignore SA1019 The client that replaces it cannot make extended CONNECTs.

// http2Client makes WebSockets and requests over one HTTP/2 connection.
type http2Client struct {
	*server
	conn *http2.ClientConn
}

func overHTTP2(t *testing.T, o engine.Options) *http2Client {
	s := overTLS(t, o)
	config := s.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	nc, err := tls.Dial("tcp", s.host, config)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(http2.Transport).NewClientConn(nc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.client = &http.Client{Transport: conn}
	return &http2Client{s, conn}
}

// http2Conn is the client's end of a stream.
type http2Conn struct {
	net.Conn // nil
	io.WriteCloser
	body io.ReadCloser
}

func (c *http2Conn) Write(b []byte) (int, error)     { return c.WriteCloser.Write(b) }
func (c *http2Conn) Read(b []byte) (int, error)      { return c.body.Read(b) }
func (c *http2Conn) Close() error                    { return c.WriteCloser.Close() }
func (c *http2Conn) SetReadDeadline(time.Time) error { return nil }

// send requests a WebSocket.
func (s *http2Client) send(query string, header ...string) (*peer, *http2Conn) {
	s.t.Helper()
	body, w := io.Pipe()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodConnect, "https://"+s.host+"/engine.io/?"+query, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set(":protocol", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.conn.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &http2Conn{WriteCloser: w, body: resp.Body}
	return &peer{Conn: c, t: s.t, r: bufio.NewReader(c), resp: resp}, c
}

func (s *http2Client) upgrade(query string, header ...string) (*peer, *http2Conn) {
	s.t.Helper()
	p, c := s.send(query, header...)
	if p.resp.StatusCode != http.StatusOK || p.resp.ProtoMajor != 2 {
		s.t.Fatalf("answer %s", p.resp.Status)
	}
	return p, c
}

func (s *http2Client) openWebSocket(header ...string) (*peer, *http2Conn, *owner) {
	s.t.Helper()
	p, c := s.upgrade(newWebSocket, header...)
	_, packet := p.read()
	parseOpen(s.t, packet)
	return p, c, s.owner()
}

// Go's HTTP/2 server accepts extended CONNECTs only with this in the process's environment.
const extendedConnect = "http2xconnect=1"

func TestWebSocketOverHTTP2(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), extendedConnect) {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		child.Env = append(os.Environ(), "GODEBUG="+extendedConnect)
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "\n--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}

	t.Run("messages", func(t *testing.T) {
		s := overHTTP2(t, engine.Options{Open: echo, Compression: &ws.Compression{Threshold: 1 << 30}, Cookie: &http.Cookie{Name: "io"}})
		p, _, o := s.openWebSocket("Sec-WebSocket-Extensions", "permessage-deflate")
		if got := p.resp.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(got, "permessage-deflate") {
			t.Errorf("extensions %q", got)
		}
		if got, want := p.resp.Header.Get("Set-Cookie"), "io="+o.session.ID(); got != want {
			t.Errorf("Set-Cookie %q, want %q", got, want)
		}
		if o.session.Transport() != "websocket" || !o.session.Handshake().Secure {
			t.Errorf("%s, secure: %v", o.session.Transport(), o.session.Handshake().Secure)
		}
		for _, size := range []int{0, 1, 100, 70_000, 900_000} {
			m := "4" + strings.Repeat("é", size/2)
			go p.tryFrame(ws.OpText, m)
			p.wantText(m)
		}
		p.writeFrame(ws.OpPing, "x")
		p.want(ws.OpPong, "x")
		p.writeFrame(ws.OpClose, "\x03\xe8")
		p.want(ws.OpClose, "\x03\xe8")
		p.wantEOF()
		o.wantEnded(engine.TransportClose)
	})
	t.Run("upgrade, in one connection", func(t *testing.T) {
		s := overHTTP2(t, engine.Options{Open: echo})
		sid, o := s.open()
		p, _ := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		wantAnswer(t, s.poll(sid), 200, "6")
		p.text("5", "4a")
		p.wantText("4a")
		o.session.Close()
		p.wantClose(ws.CloseNoStatus, "")
		o.wantEnded(engine.ForcedClose)
	})
	t.Run("refused", func(t *testing.T) {
		s := overHTTP2(t, engine.Options{})
		for query, body := range map[string]string{
			ofWebSocket("abc"):            "Session ID unknown",
			"EIO=4&transport=abc":         "Transport unknown",
			"EIO=7&transport=websocket":   "Unsupported protocol version",
			newWebSocket + "&sid=%3Cb%3E": "Session ID unknown",
		} {
			p, _ := s.send(query)
			b, _ := io.ReadAll(p.resp.Body)
			wantRefusal(t, answer{p.resp.StatusCode, p.resp.Header, string(b)}, 400, body)
		}
		p, _ := s.send(newWebSocket, "Sec-WebSocket-Version", "8")
		if h := p.resp.Header; p.resp.StatusCode != http.StatusBadRequest || h.Get("Sec-WebSocket-Version") != "13" || h.Get("Upgrade") != "" {
			t.Errorf("version 8: %s, %v", p.resp.Status, h)
		}
		s.wantSessions(0)
		if !s.conn.CanTakeNewRequest() {
			t.Error("the connection was closed")
		}
	})
	t.Run("the client ends or resets the stream", func(t *testing.T) {
		s := overHTTP2(t, engine.Options{})
		p, _, o := s.openWebSocket()
		p.Close()
		o.wantEnded(engine.TransportClose)
		p.wantEOF()
		_, c, o := s.openWebSocket()
		c.body.Close()
		o.wantEnded(engine.TransportClose)
	})
	t.Run("a client that takes nothing", func(t *testing.T) {
		s := overHTTP2(t, engine.Options{WriteTimeout: 200 * time.Millisecond, OutboxLimit: 64 << 20})
		_, _, o := s.openWebSocket()
		for range 100 {
			o.send(long(100_000))
		}
		o.wantEnded(engine.TransportError)
		if !errors.Is(o.cause, engine.ErrSlowConsumer) {
			t.Errorf("cause %v", o.cause)
		}
		wantAnswer(t, s.do("GET", "EIO=4&transport=abc", ""), 400, unknownTransport) // other requests still work
	})
	t.Run("what breaks the protocol", func(t *testing.T) {
		s := overHTTP2(t, engine.Options{})
		p, _, o := s.openWebSocket()
		p.Write([]byte{0xff, 0x80, 1, 2, 3, 4})
		op, packet := p.read()
		if code, _ := ws.ParseClose([]byte(packet)); op != ws.OpClose || code != ws.CloseProtocolError {
			t.Errorf("frame %v %q", op, packet)
		}
		p.Close()
		p.wantEOF()
		o.wantEnded(engine.TransportError)
	})
	t.Run("shutdown", func(t *testing.T) {
		s := overHTTP2(t, engine.Options{})
		p, _, o := s.openWebSocket()
		o.send("last")
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(t.Context()) }()
		p.wantText("4last")
		p.wantClose(ws.CloseNoStatus, "")
		if err := <-ended; err != nil {
			t.Error(err)
		}
		o.wantEnded(engine.ForcedClose)
	})
}

// stuck is a response whose client takes nothing: a write blocks until it is cut off.
type stuck struct {
	http.ResponseWriter
	closing atomic.Bool
	cut     chan struct{}
}

func (w *stuck) Write([]byte) (int, error)        { <-w.cut; return 0, os.ErrDeadlineExceeded }
func (w *stuck) Flush()                           {}
func (w *stuck) SetReadDeadline(time.Time) error  { w.closing.Store(true); return nil }
func (w *stuck) SetWriteDeadline(time.Time) error { close(w.cut); return nil }

// A write that begins just as the stream is closed must be cut off too.
func TestHTTP2StreamIsClosedAsAWriteBegins(t *testing.T) {
	for i := range 5_000 {
		w := &stuck{cut: make(chan struct{})}
		stream := engine.NewHTTP2Stream(w, nil)
		begun, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			close(begun)
			for !w.closing.Load() { // as close to that moment as possible
			}
			stream.Write([]byte("x"))
		}()
		<-begun
		stream.Close()
		select {
		case <-done:
		case <-time.After(patience()):
			t.Fatalf("round %d: the write goes on", i)
		}
	}
}
