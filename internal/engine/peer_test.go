package engine_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// peer is the client's side of a WebSocket, frame by frame. It can read and write at the same time.
type peer struct {
	net.Conn
	t    testing.TB
	r    *bufio.Reader
	resp *http.Response
}

// handshake is the request of a WebSocket's opening handshake.
func (s *server) handshake(query string, header ...string) *http.Request {
	r := &http.Request{
		Method: "GET",
		URL:    &url.URL{Scheme: "http", Host: s.host, Path: "/engine.io/", RawQuery: query},
		Header: http.Header{
			"Connection":            {"Upgrade"},
			"Upgrade":               {"websocket"},
			"Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
		},
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return r
}

// send sends a handshake on a new connection and reads the response to it.
func (s *server) send(r *http.Request) *peer {
	s.t.Helper()
	nc, err := s.dial(s.t.Context(), "tcp", s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := r.Write(nc); err != nil {
		s.t.Fatal(err)
	}
	return newPeer(s.t, nc, r)
}

// newPeer reads the response to the handshake r from nc.
func newPeer(t testing.TB, nc net.Conn, r *http.Request) *peer {
	t.Helper()
	t.Cleanup(func() { nc.Close() })
	p := &peer{Conn: nc, t: t, r: bufio.NewReader(nc)}
	var err error
	if p.resp, err = http.ReadResponse(p.r, r); err != nil {
		t.Fatalf("response to the handshake: %v", err)
	}
	return p
}

// upgrade opens a WebSocket with the query. header alternates names and values.
func (s *server) upgrade(query string, header ...string) *peer {
	s.t.Helper()
	p := s.send(s.handshake(query, header...))
	if p.resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(p.resp.Body)
		s.t.Fatalf("handshake refused: %d %s", p.resp.StatusCode, body)
	}
	return p
}

// refused sends a handshake that must fail and returns its answer.
func (s *server) refused(query string, header ...string) answer {
	s.t.Helper()
	p := s.send(s.handshake(query, header...))
	defer p.Close()
	body, _ := io.ReadAll(p.resp.Body)
	return answer{p.resp.StatusCode, p.resp.Header, string(body)}
}

// openWebSocket begins a session over WebSocket.
func (s *server) openWebSocket(header ...string) (*peer, *owner) {
	s.t.Helper()
	p := s.upgrade(newWebSocket, header...)
	op, packet := p.read()
	if op != ws.OpText {
		s.t.Fatalf("first frame is %v %q, want OPEN", op, packet)
	}
	parseOpen(s.t, packet)
	return p, s.owner()
}

func (p *peer) writeFrame(op ws.Opcode, payload string) {
	p.t.Helper()
	if err := p.tryFrame(op, payload); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) tryFrame(op ws.Opcode, payload string) error {
	_, err := p.Write(ws.AppendMaskedFrame(nil, op, []byte(payload)))
	return err
}

func (p *peer) text(packets ...string) {
	p.t.Helper()
	for _, s := range packets {
		p.writeFrame(ws.OpText, s)
	}
}

// tryRead reads one whole, unfragmented frame.
func (p *peer) tryRead() (ws.Opcode, string, error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, "", err
	}
	n := uint64(head[1])
	switch {
	case head[0]&0xf0 != 0x80 || head[1] >= 0x80:
		return 0, "", fmt.Errorf("frame begins with %x", head)
	case n == 126:
		var b [2]byte
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return 0, "", err
		}
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case n == 127:
		var b [8]byte
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return 0, "", err
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(p.r, payload)
	return ws.Opcode(head[0] & 0x0f), string(payload), err
}

func (p *peer) read() (ws.Opcode, string) {
	p.t.Helper()
	op, payload, err := p.tryRead()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return op, payload
}

func (p *peer) want(op ws.Opcode, payload string) {
	p.t.Helper()
	if gotOp, got := p.read(); gotOp != op || got != payload {
		p.t.Fatalf("frame %v %.200q, want %v %.200q", gotOp, got, op, payload)
	}
}

func (p *peer) wantText(packet string) {
	p.t.Helper()
	p.want(ws.OpText, packet)
}

// wantClose reads a Close frame, answers it, and waits for the end of the connection.
func (p *peer) wantClose(code int, reason string) {
	p.t.Helper()
	op, payload := p.read()
	gotCode, gotReason := ws.ParseClose([]byte(payload))
	if op != ws.OpClose || gotCode != code || gotReason != reason {
		p.t.Fatalf("frame %v %q, want Close %d %q", op, payload, code, reason)
	}
	_ = p.tryFrame(ws.OpClose, payload) // the server may be gone
	p.wantEOF()
}

// wantEOF waits for the end of the connection and fails if any byte comes before that.
func (p *peer) wantEOF() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience()))
	b, err := io.ReadAll(p.r)
	var ne net.Error
	if len(b) > 0 || errors.As(err, &ne) && ne.Timeout() {
		p.t.Errorf("read %.100q, %v, want the end of the connection", b, err)
	}
}

// wantBody reads the body of an answer that refuses the handshake.
func (p *peer) wantBody(want string) {
	p.t.Helper()
	if b, err := io.ReadAll(p.resp.Body); err != nil || string(b) != want {
		p.t.Errorf("body %q, %v, want %q", b, err, want)
	}
}

// discard reads and drops all bytes until the connection ends.
func (p *peer) discard() { io.Copy(io.Discard, p.r) }

// upgradeFrom upgrades a polling session to WebSocket as the official client does.
func (s *server) upgradeFrom(sid string) *peer {
	s.t.Helper()
	p := s.upgrade(ofWebSocket(sid))
	p.text("2probe")
	p.wantText("3probe")
	p.text("5")
	return p
}

func long(n int) string { return strings.Repeat("x", n) }

var _ engine.Handler = (*owner)(nil)
