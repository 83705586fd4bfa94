package engine_test

import (
	"compress/gzip"
	"compress/zlib"
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/ws"
)

func TestHTTPCompression(t *testing.T) {
	const gz, zl, plain = "gzip", "deflate", ""
	for _, tt := range []struct {
		accept  string
		message string
		want    string
	}{
		{"gzip, deflate, br", long(1023), gz}, // together with the packet's type exactly at the threshold
		{"gzip, deflate, br", long(1022), plain},
		{"gzip", "bin:" + long(1000), gz}, // larger in base64
		{"deflate", long(2000), zl},
		{"deflate, gzip", long(2000), gz},
		{"GZIP", long(2000), gz},
		{"gzip;q=0", long(2000), plain},
		{"gzip;q=0.0, deflate;q=0.5", long(2000), zl},
		{"gzip ; q=1", long(2000), gz},
		{"gzip;q=x", long(2000), plain},
		{"identity", long(2000), plain},
		{"br", long(2000), plain},
		{"*", long(2000), plain},
		{"", long(2000), plain},
		{"gzip", "not compressed:" + long(2000), plain},
	} {
		bubble(t, tt.accept+" "+tt.message[:5], func(t *testing.T) {
			s := inMemory(t, engine.Options{CORS: origin.Policy{Origins: []string{"https://example.com"}}})
			sid, o := s.open()
			m := message(tt.message)
			if strings.HasPrefix(tt.message, "not compressed") {
				m = m.Uncompressed()
			}
			o.session.Send(m)
			var header []string
			if tt.accept != "" {
				header = []string{"Accept-Encoding", tt.accept}
			}
			a := s.do("GET", ofPolling(sid), "", header...)
			if got := a.header.Get("Content-Encoding"); got != tt.want {
				t.Errorf("Content-Encoding %q, want %q", got, tt.want)
			}
			var r io.Reader = strings.NewReader(a.body)
			var err error
			switch tt.want {
			case gz:
				r, err = gzip.NewReader(r)
			case zl:
				r, err = zlib.NewReader(r)
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			text, isText := string(body), body[0] == '4'
			if isText && text[1:] != tt.message || !isText && fromBase64(text[1:]) != tt.message[len("bin:"):] {
				t.Errorf("body %.50q", body)
			}
			vary := strings.Join(a.header["Vary"], ", ")
			if tt.want != plain && vary != "Origin, Accept-Encoding" {
				t.Errorf("Vary %q", vary)
			}
			o.session.Close()
			s.poll(sid)
		})
	}
}

func TestHTTPCompressionIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{HTTPCompressionThreshold: -1})
		sid, o := s.open()
		o.send(long(100_000))
		wantAnswer(t, s.do("GET", ofPolling(sid), "", "Accept-Encoding", "gzip"), 200, "4"+long(100_000))
		o.session.Close()
		s.poll(sid)
	})
}

// wantMessages reads messages, some of them compressed.
func wantMessages(t *testing.T, c *ws.Conn, want ...string) {
	t.Helper()
	for _, w := range want {
		op, payload, err := c.ReadMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := string(payload); op == ws.OpText && got != "4"+w || op == ws.OpBinary && "bin:"+got != w {
			t.Fatalf("message %v %.50q, want %.50q", op, got, w)
		}
	}
}

func TestWebSocketCompression(t *testing.T) {
	for _, tt := range []struct {
		name         string
		offer, agree string
		ours         ws.Compression
	}{
		{"usual", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover", ws.Compression{}},
		{"small window", "permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_no_context_takeover; server_max_window_bits=9", ws.Compression{}},
		{"nothing below the threshold", "permessage-deflate", "permessage-deflate; server_no_context_takeover", ws.Compression{Threshold: 1 << 20}},
		{"everything", "permessage-deflate", "permessage-deflate; server_no_context_takeover", ws.Compression{Threshold: -1}},
		{"not offered", "", "", ws.Compression{}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Compression: &tt.ours, Open: echo})
			r := s.handshake(newWebSocket, "Sec-Websocket-Extensions", tt.offer)
			p := s.send(r)
			if got := p.resp.Header.Get("Sec-Websocket-Extensions"); got != tt.agree {
				t.Fatalf("agreed on %q, want %q", got, tt.agree)
			}
			o := s.owner()
			opened, _ := p.r.Peek(p.r.Buffered())
			conn := ws.NewConn(p.Conn, ws.ConnOptions{Side: ws.Client, Buffered: opened, Deflate: deflateParams(tt.agree)})
			if op, packet, err := conn.ReadMessage(t.Context()); op != ws.OpText || err != nil {
				t.Fatalf("OPEN %q, %v", packet, err)
			}
			messages := []string{"", "a", long(1023), long(1024), "bin:" + long(5000), long(70_000), strings.Repeat("abc\x00€", 30_000), "end"}
			go func() {
				for _, m := range messages {
					o.session.Send(message(m), message(m).Uncompressed())
				}
			}()
			for _, m := range messages {
				wantMessages(t, conn, m, m)
			}
			go conn.WriteMessage(t.Context(), ws.OpText, []byte("4"+long(10_000)))
			wantMessages(t, conn, long(10_000))
			conn.CloseNow()
			o.wantEnded(engine.TransportClose)
		})
	}
}

func deflateParams(agreed string) *ws.DeflateParams {
	if agreed == "" {
		return nil
	}
	d := &ws.DeflateParams{ServerNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	if strings.Contains(agreed, "server_max_window_bits=9") {
		d.ServerMaxWindowBits = 9
	}
	return d
}

// One message goes to many connections. Each can read it, whatever compression it negotiated,
// between other messages, and split at any place by a slow reader.
func TestCompressedBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Compression: &ws.Compression{}, OutboxLimit: -1})
		var conns []*ws.Conn
		var owners []*owner
		for _, offer := range []string{"", "permessage-deflate", "permessage-deflate", "permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"} {
			p := s.upgrade(newWebSocket, "Sec-Websocket-Extensions", offer)
			opened, _ := p.r.Peek(p.r.Buffered())
			c := ws.NewConn(p.Conn, ws.ConnOptions{Side: ws.Client, Buffered: opened, Deflate: deflateParams(p.resp.Header.Get("Sec-Websocket-Extensions"))})
			c.ReadMessage(t.Context())
			conns, owners = append(conns, c), append(owners, s.owner())
		}
		var want []string
		for i := range 3 {
			text := strings.Repeat(long(i)+"abcdef", 2000*(i+1))
			incompressible := "bin:" + string(randomBytes(100_000))
			want = append(want, text, incompressible)
			m, n := message(text), message(incompressible)
			for _, o := range owners {
				o.session.Send(m, n)
			}
		}
		for i, c := range conns {
			wantMessages(t, c, want...)
			c.CloseNow()
			owners[i].wantEnded(engine.TransportClose)
		}
	})
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// Forms that only revision 3 uses are compressed too.
func TestWebSocketCompressionOfRevision3(t *testing.T) {
	for more, want := range map[string]string{
		"":       "\x04" + long(5000),
		"&b64=1": string(eio.V3.AppendBase64(nil, []byte(long(5000)))),
	} {
		bubble(t, "b64"+more, func(t *testing.T) {
			s := inMemory(t, engine.Options{Compression: &ws.Compression{}, AllowEIO3: true})
			p := s.send(s.handshake(newWebSocket3+more, "Sec-Websocket-Extensions", "permessage-deflate"))
			o := s.owner()
			opened, _ := p.r.Peek(p.r.Buffered())
			conn := ws.NewConn(p.Conn, ws.ConnOptions{Side: ws.Client, Buffered: opened, Deflate: deflateParams("permessage-deflate; server_no_context_takeover")})
			defer conn.CloseNow()
			m := message("bin:" + long(5000))
			go o.session.Send(m, message("end"), m)
			for _, want := range []string{"0", want, "4end", want} {
				op, payload, err := conn.ReadMessage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if binary := want[0] == 4; binary != (op == ws.OpBinary) || want != "0" && string(payload) != want {
					t.Fatalf("message %v %.50q, want %.50q", op, payload, want)
				}
			}
			if n := s.Stats().BytesOut.Load(); n > 2000 {
				t.Errorf("%d bytes for two messages of 5,000", n)
			}
		})
	}
}
