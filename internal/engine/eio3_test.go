package engine_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

const (
	newPolling3   = "EIO=3&transport=polling"
	newWebSocket3 = "EIO=3&transport=websocket"
)

var eio3 = engine.Options{AllowEIO3: true}

// eio3With returns options that allow revision 3 and use the handler.
func eio3With(open func(*engine.Session) engine.Handler) engine.Options {
	return engine.Options{AllowEIO3: true, Open: open}
}

// open3 begins a polling session with extra parameters in its handshake.
func (s *server) open3(more string) (query string, o *owner) {
	s.t.Helper()
	a := s.do("GET", newPolling3+more, "")
	length, packet, ok := strings.Cut(a.body, ":")
	if n, _ := strconv.Atoi(length); a.status != 200 || !ok || n != len(packet) {
		s.t.Fatalf("handshake: %d %s", a.status, a.body)
	}
	return newPolling3 + more + "&sid=" + parseOpen(s.t, packet).SID, s.owner()
}

// later polls with the query and returns when the poll is parked. Call it in a bubble.
func (s *server) later(query string) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		a, err := s.try("GET", query, nil)
		if err != nil {
			s.t.Errorf("poll: %v", err)
		}
		answers <- a
	}()
	synctest.Wait()
	return answers
}

func (s *server) openWebSocket3(more string) (*peer, *owner) {
	s.t.Helper()
	p := s.upgrade(newWebSocket3 + more)
	op, packet := p.read()
	if op != ws.OpText {
		s.t.Fatalf("first frame is %v %q, want OPEN", op, packet)
	}
	if o := parseOpen(s.t, packet); len(o.Upgrades) != 0 {
		s.t.Errorf("upgrades from WebSocket: %q", o.Upgrades)
	}
	return p, s.owner()
}

func TestRevision3Polling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, eio3With(echo))
		q, o := s.open3("")
		if o.session.Protocol() != 3 {
			t.Errorf("protocol %d", o.session.Protocol())
		}
		wantAnswer(t, s.do("POST", q, "7:4é€😀 \u20285:4next2:2x"), 200, "ok")
		a := s.do("GET", q, "")
		wantAnswer(t, a, 200, "7:4é€😀 \u20285:4next1:3")
		if got := a.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
			t.Errorf("Content-Type %q", got)
		}
		o.wantReceived("é€😀 \u2028", "next")

		// One binary packet makes the whole payload binary.
		frames := "\x00\x02\xff4a\x01\x03\xff\x04\x01\xff\x00\x04\xff4\xe2\x82\xac"
		wantAnswer(t, s.do("POST", q, frames, "Content-Type", "application/octet-stream"), 200, "ok")
		a = s.do("GET", q, "")
		wantAnswer(t, a, 200, frames)
		if got := a.header.Get("Content-Type"); got != "application/octet-stream" {
			t.Errorf("Content-Type %q", got)
		}
		wantAnswer(t, s.do("POST", q, "10:b4AQIDBA=="), 200, "ok")
		wantAnswer(t, s.do("GET", q, ""), 200, "\x01\x05\xff\x04\x01\x02\x03\x04")
		wantAnswer(t, s.do("POST", q, "1:1"), 200, "ok")
		o.wantEnded(engine.TransportClose)
	})
}

func TestRevision3Base64(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, eio3With(echo))
		q, _ := s.open3("&b64=1")
		wantAnswer(t, s.do("POST", q, "2:4a10:b4AQIDBA=="), 200, "ok")
		a := s.do("GET", q, "")
		wantAnswer(t, a, 200, "2:4a10:b4AQIDBA==")
		if got := a.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
			t.Errorf("Content-Type %q", got)
		}
		p, _ := s.openWebSocket3("&b64=1")
		p.text("b4AQIDBA==")
		p.wantText("b4AQIDBA==")
		p.text("4text")
		p.wantText("4text")
		p.writeFrame(ws.OpBinary, "\x04\x01") // clients may send bytes even then
		p.wantText("b4AQ==")
		p.Close()
	})
}

func TestRevision3WebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, eio3With(echo))
		p, o := s.openWebSocket3("")
		p.text("4é😀")
		p.wantText("4é😀")
		p.writeFrame(ws.OpBinary, "\x04\x01\x02\x03\x04")
		p.want(ws.OpBinary, "\x04\x01\x02\x03\x04")
		p.writeFrame(ws.OpBinary, "\x04")
		p.want(ws.OpBinary, "\x04")
		p.text("2", "2data")
		p.wantText("3")
		p.wantText("3") // without the data
		o.wantReceived("é😀", "bin:\x01\x02\x03\x04", "bin:")
		p.text("1")
		p.wantClose(ws.CloseNoStatus, "")
		o.wantEnded(engine.TransportClose)
	})
}

func TestRevision3Upgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, eio3With(echo))
		q, o := s.open3("")
		poll := s.later(q)
		p := s.upgrade(strings.Replace(q, "polling", "websocket", 1))
		p.text("2probe")
		p.wantText("3probe")
		wantAnswer(t, <-poll, 200, "1:6")
		o.wantOpen()
		p.Close()

		q, o = s.open3("")
		p = s.upgrade(strings.Replace(q, "polling", "websocket", 1))
		p.text("2probe")
		p.wantText("3probe")
		o.send("queued", "bin:\x01")
		p.text("5")
		p.wantText("4queued")
		p.want(ws.OpBinary, "\x04\x01")
		p.text("2")
		p.wantText("3")
		wantRefusal(t, s.do("GET", q, ""), 400, badRequest)
		o.wantOpen()
	})
}

// A broadcast is rendered once for all sessions of a kind. Rendering does not change the other
// kinds' forms.
func TestBroadcastToBothRevisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, eio3)
		p4, o4 := s.openWebSocket()
		p3, o3 := s.openWebSocket3("")
		p64, o64 := s.openWebSocket3("&b64=1")
		q3, l3 := s.open3("")
		sid, l4 := s.open()
		for _, m := range []*engine.Message{message("text"), message("bin:\x01\x02")} {
			for _, o := range []*owner{o3, o4, o64, l3, l4} {
				o.session.Send(m)
			}
		}
		p4.wantText("4text")
		p4.want(ws.OpBinary, "\x01\x02")
		p3.wantText("4text")
		p3.want(ws.OpBinary, "\x04\x01\x02")
		p64.wantText("4text")
		p64.wantText("b4AQI=")
		wantAnswer(t, s.do("GET", q3, ""), 200, "\x00\x05\xff4text\x01\x03\xff\x04\x01\x02")
		wantAnswer(t, s.poll(sid), 200, "4text\x1ebAQI=")
	})
}

func TestRevision3Heartbeat(t *testing.T) {
	bubble(t, "WebSocket", func(t *testing.T) {
		s := inMemory(t, eio3)
		p, o := s.openWebSocket3("")
		for range 3 {
			time.Sleep(interval + timeout - time.Second) // late, but in time
			p.text("2")
			p.wantText("3")
		}
		p.text("4a") // does not count
		start := time.Now()
		p.wantClose(ws.CloseNoStatus, "")
		wantSince(t, start, interval+timeout)
		o.wantEnded(engine.PingTimeout)
		s.wantSessions(0)
	})
	bubble(t, "polling", func(t *testing.T) {
		s := inMemory(t, eio3)
		q, o := s.open3("")
		for range 3 {
			poll := s.later(q)
			time.Sleep(interval)
			wantAnswer(t, s.do("POST", q, "1:2"), 200, "ok")
			wantAnswer(t, <-poll, 200, "1:3")
		}
		start := time.Now()
		wantAnswer(t, s.do("GET", q, ""), 200, "1:1")
		wantSince(t, start, interval+timeout)
		o.wantEnded(engine.PingTimeout)
		wantRefusal(t, s.do("GET", q, ""), 400, unknownSession)
	})
	bubble(t, "across the upgrade", func(t *testing.T) {
		s := inMemory(t, eio3)
		q, o := s.open3("")
		time.Sleep(interval)
		p := s.upgrade(strings.Replace(q, "polling", "websocket", 1))
		p.text("2probe") // does not count
		p.wantText("3probe")
		p.text("5")
		start := time.Now()
		p.wantClose(ws.CloseNoStatus, "")
		wantSince(t, start, timeout)
		o.wantEnded(engine.PingTimeout)
	})
}

// A client that pings but does not read costs no more than any other client.
func TestRevision3PingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{AllowEIO3: true, OutboxLimit: 10_000})
		q, o := s.open3("")
		wantAnswer(t, s.do("POST", q, strings.Repeat("1:2", 10_000)), 200, "ok")
		o.wantSlowConsumer(s)
	})
}

func TestRevision3PostedPayloads(t *testing.T) {
	const open = engine.Reason("")
	const octets = "application/octet-stream"
	for _, tt := range []struct {
		name, contentType, body string
		received                []string
		fate                    engine.Reason
	}{
		{"a message", "", "4:4abc", []string{"abc"}, open},
		{"UTF-16 units", "", "3:4😀", []string{"😀"}, open},
		{"no packets", "", "0:", nil, open},
		{"a ping", "", "1:2", nil, open},
		{"frames", octets, "\x00\x04\xff4abc\x01\x02\xff\x04\x00", []string{"abc", "bin:\x00"}, open},
		{"frames as text", "text/plain", "\x00\x02\xff4a", nil, engine.ParseError},
		{"text as frames", octets, "2:4a", nil, engine.ParseError},

		{"nothing", "", "", nil, engine.ParseError},
		{"garbage", "", "abc", nil, engine.ParseError},
		{"a payload of version 4", "", "4abc", nil, engine.ParseError},
		{"bytes for units", "", "5:4😀", nil, engine.ParseError},
		{"half a pair", "", "2:4😀", nil, engine.ParseError},
		{"a length that is too long", "", "9:4a", nil, engine.ParseError},
		{"garbage behind a message", "", "2:4ax", []string{"a"}, engine.ParseError},
		{"a length that is too short", "", "1:4a", []string{""}, engine.ParseError},
		{"a length that is too short, behind a message", "", "2:4a1:4b2:4c", []string{"a", ""}, engine.ParseError},
		{"a zero in front", "", "02:4a", []string{"a"}, open},
		{"no length", "", ":4a", nil, engine.ParseError},
		{"no colon", "", "24a", nil, engine.ParseError},
		{"only a length", "", "2", nil, engine.ParseError},
		{"a length and nothing", "", "2:", nil, engine.ParseError},
		{"a negative length", "", "-2:4a", nil, engine.ParseError},
		{"a sign", "", "+2:4a", nil, engine.ParseError},
		{"a space in front", "", " 2:4a", nil, engine.ParseError},
		{"a fraction", "", "2.0:4a", nil, engine.ParseError},
		{"hexadecimal", "", "0x2:4a", nil, engine.ParseError},
		{"an exponent", "", "2e0:4a", nil, engine.ParseError},
		{"full-width digits", "", "２:4a", nil, engine.ParseError},
		{"a huge length", "", "99999999999999999999:4a", nil, engine.ParseError},
		{"2³² + 2", "", "4294967298:4a", nil, engine.ParseError},
		{"2⁶⁴ + 2", "", "18446744073709551618:4a", nil, engine.ParseError},
		{"only a colon", "", ":", nil, engine.ParseError},
		{"a separator of version 4", "", "2:4a\x1e2:4b", []string{"a"}, engine.ParseError},
		{"type 7", "", "2:7a", nil, engine.ParseError},
		{"base64 of another type", "", "6:b2AQID", nil, engine.ParseError},
		{"base64 without a type", "", "1:b", nil, engine.ParseError},
		{"no base64", "", "4:b4!!", nil, engine.ParseError},
		{"base64 cut off", "", "4:b4AQ", nil, engine.ParseError},
		{"invalid UTF-8", "", "3:4a\xff", nil, engine.ParseError},
		{"invalid UTF-8 in a frame", octets, "\x00\x02\xff4\xff", nil, engine.ParseError},
		{"a frame cut off", octets, "\x00\x09\xff4", nil, engine.ParseError},
		{"no bytes", octets, "", nil, engine.ParseError},
		{"a frame without a length", octets, "\x00\xff4a", nil, engine.ParseError},
		{"an empty frame", octets, "\x00\x00\xff", nil, engine.ParseError},
		{"an empty frame of bytes", octets, "\x01\x00\xff", nil, engine.ParseError},
		{"a frame of a third kind", octets, "\x02\x02\xff4a", nil, engine.ParseError},
		{"a digit above 9", octets, "\x00\x0a\xff4", nil, engine.ParseError},
		{"digits of text", octets, "\x002\xff4a", nil, engine.ParseError},
		{"a frame that is too short", octets, "\x00\x01\xff4a", []string{""}, engine.ParseError},
		{"bytes of another type", octets, "\x01\x02\xff\x02\x01", nil, engine.ParseError},
		{"garbage behind a frame", octets, "\x00\x02\xff4ax", []string{"a"}, engine.ParseError},
		{"a length without end", octets, "\x00" + strings.Repeat("\x09", 1000), nil, engine.ParseError},
		{"a pong", "", "1:3", nil, engine.TransportError},
		{"close", "", "1:1", nil, engine.TransportClose},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, eio3)
			q, o := s.open3("")
			var header []string
			if tt.contentType != "" {
				header = []string{"Content-Type", tt.contentType}
			}
			poll := s.later(q)
			wantAnswer(t, s.do("POST", q, tt.body, header...), 200, "ok")
			o.wantReceived(tt.received...)
			farewell := "1:1"
			switch tt.fate {
			case open:
				if tt.name == "a ping" {
					wantAnswer(t, <-poll, 200, "1:3")
					s.finish(q, o, farewell)
					return
				}
				o.wantOpen()
				o.session.Close()
			case engine.TransportClose:
				farewell = "1:6"
				fallthrough
			default:
				o.wantEnded(tt.fate)
			}
			wantAnswer(t, <-poll, 200, farewell)
			s.wantNothingLeft()
		})
	}
}

func TestRevision3MalformedWebSocketMessages(t *testing.T) {
	for name, frame := range map[string]string{
		"text":                "x4a",
		"text of a binary":    "bAQID",
		"no base64":           "b4!",
		"a pong":              "3",
		"binary without type": "bin:\x01",
		"a binary ping":       "bin:\x02",
		"empty binary":        "bin:",
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, eio3)
			p, o := s.openWebSocket3("")
			if data, binary := strings.CutPrefix(frame, "bin:"); binary {
				p.writeFrame(ws.OpBinary, data)
			} else {
				p.text(frame)
			}
			p.wantClose(ws.CloseNoStatus, "")
			want := engine.ParseError
			if frame == "3" {
				want = engine.TransportError
			}
			o.wantEnded(want)
			s.wantNothingLeft()
		})
	}
}

// A session keeps its first revision, whatever kind of request uses it.
func TestProtocolOfASessionIsFixed(t *testing.T) {
	for _, tt := range []struct{ began, other string }{{"EIO=3", "EIO=4"}, {"EIO=4", "EIO=3"}, {"EIO=3", "EIO=5"}, {"EIO=3", "EIO="}} {
		bubble(t, tt.began+" goes on with "+tt.other, func(t *testing.T) {
			s := inMemory(t, eio3)
			q := newPolling3
			var o *owner
			if tt.began == "EIO=3" {
				q, o = s.open3("")
			} else {
				var sid string
				sid, o = s.open()
				q = ofPolling(sid)
			}
			other := strings.Replace(q, tt.began, tt.other, 1)
			wantRefusal(t, s.do("GET", other, ""), 400, badRequest)
			wantRefusal(t, s.do("POST", other, "4a"), 400, badRequest)
			wantRefusal(t, s.do("POST", other, "2:4a"), 400, badRequest)
			wantRefusal(t, s.refused(strings.Replace(other, "polling", "websocket", 1)), 400, "Bad request")
			o.wantOpen()
			o.wantReceived()

			// With WebSocket only another upgrade can continue the session.
			p := s.upgrade(strings.Replace(q, "polling", "websocket", 1))
			p.text("2probe")
			p.wantText("3probe")
			p.text("5")
			synctest.Wait()
			wantRefusal(t, s.refused(strings.Replace(other, "polling", "websocket", 1)), 400, "Bad request")
			o.wantOpen()
		})
	}
}

func TestRevision3IsOffByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		wantRefusal(t, s.do("GET", newPolling3, ""), 400, badVersion)
		wantRefusal(t, s.refused(newWebSocket3), 400, "Unsupported protocol version")
	})
}

func TestOtherRevisionsAreRefused(t *testing.T) {
	for _, eio := range []string{"", "2", "5", "03", "3.0", "abc", "__proto__"} {
		bubble(t, "EIO="+eio, func(t *testing.T) {
			s := inMemory(t, eio3)
			wantRefusal(t, s.do("GET", "transport=polling&EIO="+eio, ""), 400, badVersion)
			wantRefusal(t, s.refused("transport=websocket&EIO="+eio), 400, "Unsupported protocol version")
			s.wantSessions(0)
		})
	}
}
