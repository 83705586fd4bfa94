package engine_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// A client may start to listen only after it has read the answer to its handshake.
func TestOpenDoesNotComeWithTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		nc, err := s.dial(t.Context(), "tcp", s.host)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := s.handshake(newWebSocket).Write(nc); err != nil {
			t.Fatal(err)
		}
		for _, end := range []string{"\r\n\r\n", "}"} {
			b := make([]byte, 4096)
			if n, err := nc.Read(b); err != nil || !strings.HasSuffix(string(b[:n]), end) {
				t.Errorf("one read: %q, %v", b[:n], err)
			}
		}
	})
}

// Official clients with forceBase64 neither send binary nor accept it.
func TestBase64OverWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo, AllowEIO3: true})
		p := s.upgrade(newWebSocket + "&b64=1")
		p.read()
		p.text("bAQIDBA==", "4text")
		p.wantText("bAQIDBA==")
		p.wantText("4text")
		// Each client gets its own form of one message.
		o := s.owner()
		binary, binary3 := s.upgrade(newWebSocket), s.upgrade(newWebSocket3+"&b64=1")
		m := message("bin:\x01")
		for _, p := range []*peer{binary, binary3} {
			p.read()
			s.owner().session.Send(m)
		}
		o.session.Send(m)
		p.wantText("bAQ==")
		binary.want(ws.OpBinary, "\x01")
		binary3.wantText("b4AQ==")
		for _, p := range []*peer{p, binary, binary3} {
			p.Close()
		}
	})
}

func TestRefusedUpgradesAreTextAnd400(t *testing.T) {
	for query, message := range map[string]string{
		"EIO=4&transport=abc":       "Transport unknown",
		ofWebSocket("abc"):          "Session ID unknown",
		"EIO=3&transport=websocket": "Unsupported protocol version",
	} {
		bubble(t, message, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			a := s.refused(query)
			wantRefusal(t, a, 400, message)
			if got := a.header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options %q", got)
			}
		})
	}
}

func TestWebSocketWithTransportPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		s.upgrade(newPolling).wantClose(ws.CloseNoStatus, "")
		sid, o := s.open()
		s.upgrade(ofPolling(sid)).wantClose(ws.CloseNoStatus, "")
		o.wantOpen()
		s.wantSessions(1)
		o.session.Close()
		s.poll(sid)
	})
}

// What a client may send on a WebSocket, and what happens to the session.
func TestWebSocketPackets(t *testing.T) {
	for _, tt := range []struct {
		name     string
		op       ws.Opcode
		payload  string
		received []string
		fate     engine.Reason // empty: the session continues
		code     int           // of the server's Close frame
	}{
		{"text", ws.OpText, "4abc", []string{"abc"}, "", 0},
		{"empty text message", ws.OpText, "4", []string{""}, "", 0},
		{"binary", ws.OpBinary, "\x00\xff", []string{"bin:\x00\xff"}, "", 0},
		{"empty binary", ws.OpBinary, "", []string{"bin:"}, "", 0},
		{"base64", ws.OpText, "bAQID", []string{"bin:\x01\x02\x03"}, "", 0},
		{"empty base64", ws.OpText, "b", []string{"bin:"}, "", 0},
		{"text with a separator", ws.OpText, "4a\x1e4b", []string{"a\x1e4b"}, "", 0},
		{"a pong nobody waits for", ws.OpText, "3", nil, "", 0},
		{"open", ws.OpText, "0", nil, "", 0},
		{"upgrade", ws.OpText, "5", nil, "", 0},
		{"noop", ws.OpText, "6", nil, "", 0},
		{"a WebSocket pong", ws.OpPong, "abc", nil, "", 0},

		{"empty text", ws.OpText, "", nil, engine.ParseError, ws.CloseNoStatus},
		{"garbage", ws.OpText, "abc", nil, engine.ParseError, ws.CloseNoStatus},
		{"type 7", ws.OpText, "7", nil, engine.ParseError, ws.CloseNoStatus},
		{"bad base64", ws.OpText, "bAQI!", nil, engine.ParseError, ws.CloseNoStatus},
		{"ping", ws.OpText, "2", nil, engine.TransportError, ws.CloseNoStatus},
		{"probe", ws.OpText, "2probe", nil, engine.TransportError, ws.CloseNoStatus},
		{"close", ws.OpText, "1", nil, engine.TransportClose, ws.CloseNoStatus},
		{"invalid UTF-8", ws.OpText, "4\xff", nil, engine.TransportError, ws.CloseInvalidData},
		{"reserved opcode", 3, "", nil, engine.TransportError, ws.CloseProtocolError},
		{"continuation of nothing", ws.OpContinuation, "4a", nil, engine.TransportError, ws.CloseProtocolError},
		{"long ping", ws.OpPing, long(126), nil, engine.TransportError, ws.CloseProtocolError},
		{"Close frame of one byte", ws.OpClose, "x", nil, engine.TransportError, ws.CloseProtocolError},
		{"invalid close code", ws.OpClose, "\x03\xed", nil, engine.TransportError, ws.CloseProtocolError},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			p, o := s.openWebSocket()
			p.writeFrame(tt.op, tt.payload)
			if tt.fate == "" {
				p.writeFrame(ws.OpPing, "alive")
				p.want(ws.OpPong, "alive")
				o.wantReceived(tt.received...)
				o.wantOpen()
				p.Close()
				return
			}
			op, payload := p.read()
			if code, _ := ws.ParseClose([]byte(payload)); op != ws.OpClose || code != tt.code {
				t.Errorf("frame %v %q, want Close %d", op, payload, tt.code)
			}
			p.writeFrame(ws.OpClose, "")
			p.Close()
			o.wantEnded(tt.fate)
			o.wantReceived(tt.received...)
			s.wantNothingLeft()
		})
	}
}

func TestMessageSizeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxPayload: 1000})
		p, o := s.openWebSocket()
		p.text("4" + long(999))
		p.writeFrame(ws.OpBinary, long(1000))
		// The header is enough: the payload is never sent.
		p.Write(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<62))
		op, payload := p.read()
		if op != ws.OpClose || payload != "\x03\xf1" { // no reason, like the reference
			t.Errorf("frame %v %q, want Close 1009", op, payload)
		}
		p.Close()
		o.wantEnded(engine.TransportError)
		if n := len(o.received()); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
	})
}

// A peer that goes on sending its message still learns why the server closes.
func TestTheReasonReachesAPeerThatGoesOnSending(t *testing.T) {
	s := overTCP(t, engine.Options{MaxPayload: 1000})
	for range 20 {
		p, o := s.openWebSocket()
		go func() {
			b := ws.AppendMaskedFrame(nil, ws.OpText, []byte("4"+long(300_000)))
			for len(b) > 0 {
				n, err := p.Write(b[:min(3000, len(b))])
				if err != nil {
					return
				}
				b = b[n:]
			}
		}()
		op, payload, err := p.tryRead()
		if err != nil || op != ws.OpClose || payload != "\x03\xf1" {
			t.Fatalf("frame %v %q, %v, want Close 1009", op, payload, err)
		}
		o.wantEnded(engine.TransportError)
		p.Close()
	}
}

// After its session has ended, a WebSocket is only read for the Close frame.
func TestNothingIsDecodedAfterTheEnd(t *testing.T) {
	for _, candidate := range []bool{false, true} {
		bubble(t, fmt.Sprintf("candidate %v", candidate), func(t *testing.T) {
			s := inMemory(t, engine.Options{Compression: &ws.Compression{}, Open: echo})
			deflate := []string{"Sec-WebSocket-Extensions", "permessage-deflate"}
			var sid string
			var p *peer
			var o *owner
			if candidate {
				sid, o = s.open()
				p = s.upgrade(ofWebSocket(sid), deflate...)
				p.text("2") // not a probe
			} else {
				p, o = s.openWebSocket(deflate...)
				o.session.Close()
			}
			p.want(ws.OpClose, "")
			synctest.Wait()
			before := s.Stats().PacketsIn.Load()
			start := time.Now()
			for range 100 {
				p.text("4a")
				p.writeFrame(ws.OpText, "\xff")
				p.Write([]byte{0xc1, 0x84, 0, 0, 0, 0, 'n', 'o', 'n', 'e'}) // claims to be compressed
				p.writeFrame(ws.OpPing, "")
			}
			p.writeFrame(ws.OpClose, "")
			p.wantEOF()
			wantSince(t, start, 0)
			if n := s.Stats().PacketsIn.Load() - before; n != 0 {
				t.Errorf("%d packets were decoded", n)
			}
			o.wantReceived()
			if candidate {
				s.stillWorks(sid)
			}
		})
	}
}

func TestClientCloses(t *testing.T) {
	for _, tt := range []struct{ name, payload string }{
		{"1000", "\x03\xe8"},
		{"1001 with a reason", "\x03\xe9going away"},
		{"4999", "\x13\x87"},
		{"without code", ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			p, o := s.openWebSocket()
			p.writeFrame(ws.OpClose, tt.payload)
			p.want(ws.OpClose, tt.payload[:min(2, len(tt.payload))]) // the server echoes the code, not the reason
			p.wantEOF()                                              // the server ends the connection
			o.wantEnded(engine.TransportClose)
			s.wantSessions(0)
		})
	}
}

// However the end of a session races with writes to it, its handler learns of the end, and nothing
// follows the Close frame (RFC 6455, 5.5.1).
func TestClientClosesWhileTheServerWrites(t *testing.T) {
	s := overTCP(t, engine.Options{OutboxLimit: -1, WriteTimeout: -1})
	for range 300 {
		p, o := s.openWebSocket()
		var sender sync.WaitGroup
		sender.Go(func() {
			for o.send("x") {
			}
		})
		p.writeFrame(ws.OpClose, "\x03\xe8")
		for op := ws.OpText; op != ws.OpClose; {
			op, _ = p.read()
		}
		p.wantEOF()
		o.wantEnded(engine.TransportClose)
		sender.Wait()
	}
	s.wantSessions(0)
}

func TestServerClosesWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		o.send("a", "bin:b")
		o.session.Close()
		o.session.Close()
		o.wantEnded(engine.ForcedClose)
		s.wantSessions(0)
		if o.send("too late") {
			t.Error("sent after Close")
		}
		p.wantText("4a")
		p.want(ws.OpBinary, "b")
		p.want(ws.OpClose, "")
		p.text("4ignored") // was already on its way
		p.writeFrame(ws.OpClose, "")
		start := time.Now()
		p.wantEOF()
		wantSince(t, start, 0) // at once: the server has already seen the peer's Close frame
		o.wantReceived()
	})
}

func TestPeerThatDoesNotAnswerTheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		o.session.Close()
		p.want(ws.OpClose, "")
		start := time.Now()
		p.wantEOF()
		wantSince(t, start, 5*time.Second)
	})
}

func TestPeerThatDoesNotReadTheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		o.session.Close()
		time.Sleep(5*time.Second + slack)
		p.wantEOF()
	})
}

func TestFragmentedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		frame := func(first byte, payload string) {
			b := ws.AppendMaskedFrame(nil, ws.OpText, []byte(payload))
			b[0] = first
			p.Write(b)
		}
		frame(0x01, "4a")
		frame(0x00, "")
		frame(0x89, "between") // a ping
		p.want(ws.OpPong, "between")
		frame(0x00, "€"[:1])
		frame(0x80, "€"[1:])
		frame(0x02, "")
		frame(0x80, "bin")
		p.writeFrame(ws.OpPing, "")
		p.want(ws.OpPong, "")
		o.wantReceived("a€", "bin:bin")
		p.Close()
	})
}

// Frames that arrive in one write with the handshake request are not lost.
func TestFramesBehindTheHandshake(t *testing.T) {
	for name, start := range map[string]func(testing.TB, engine.Options) *server{"memory": inMemory, "TCP": overTCP} {
		run := func(t *testing.T) {
			s := start(t, engine.Options{Open: echo})
			nc, err := s.dial(t.Context(), "tcp", s.host)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			s.handshake(newWebSocket).Write(&b)
			for i := range 20 {
				b.Write(ws.AppendMaskedFrame(nil, ws.OpText, fmt.Appendf(nil, "4%d", i)))
			}
			go nc.Write([]byte(b.String()))
			p := newPeer(t, nc, nil)
			p.read() // OPEN
			for i := range 20 {
				p.wantText(fmt.Sprint("4", i))
			}
			p.Close()
			s.owner().wantEnded(engine.TransportClose)
		}
		if name == "memory" {
			bubble(t, name, run)
		} else {
			t.Run(name, run)
		}
	}
}

func TestPingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		for range 1000 { // answered as they arrive
			p.writeFrame(ws.OpPing, long(125))
			p.want(ws.OpPong, long(125))
		}
		sent := 0
		for p.tryFrame(ws.OpPing, long(125)) == nil && sent < 1000 { // but not stored for a peer that does not read
			sent++
			if synctest.Wait(); !o.isOpen() {
				break
			}
		}
		o.wantEnded(engine.TransportError)
		if sent > 130 {
			t.Errorf("%d pings unanswered before the end", sent)
		}
		p.Close()
	})
}
