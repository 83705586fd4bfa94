package ws_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

func TestParserFrames(t *testing.T) {
	b125, b126 := strings.Repeat("a", 125), strings.Repeat("b", 126)
	b64k1, b64k := strings.Repeat("c", 65535), strings.Repeat("d", 65536)
	tests := []struct {
		name string
		in   []byte
		want []string
		code int
	}{
		// Lengths, RFC 6455 5.2.
		{"empty text", masked(fin|text, ""), []string{event(1, "")}, 0},
		{"empty binary", masked(fin|bin, ""), []string{event(2, "")}, 0},
		{"5 bytes", masked(fin|text, "Hello"), []string{event(1, "Hello")}, 0},
		{"125 bytes", masked(fin|text, b125), []string{event(1, b125)}, 0},
		{"126 bytes", masked(fin|text, b126), []string{event(1, b126)}, 0},
		{"65535 bytes", masked(fin|bin, b64k1), []string{event(2, b64k1)}, 0},
		{"65536 bytes", masked(fin|bin, b64k), []string{event(2, b64k)}, 0},
		{"two messages", join(masked(fin|text, "1"), masked(fin|bin, "\xff")), []string{event(1, "1"), event(2, "\xff")}, 0},
		{"16 bit length of 125", []byte{fin | text, 0x80 | 126, 0, 125}, nil, 1002},
		{"16 bit length of 0", []byte{fin | text, 0x80 | 126, 0, 0}, nil, 1002},
		{"64 bit length of 65535", []byte{fin | text, 0x80 | 127, 0, 0, 0, 0, 0, 0, 255, 255}, nil, 1002},
		{"64 bit length of 2^63", []byte{fin | text, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, nil, 1002},
		{"64 bit length of 2^64-1", []byte{fin | text, 0x80 | 127, 255, 255, 255, 255, 255, 255, 255, 255}, nil, 1002},
		{"64 bit length of 2^63-1", []byte{fin | text, 0x80 | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255}, nil, 1009},

		// Masking, 5.1.
		{"text not masked", plain(fin|text, "Hello"), nil, 1002},
		{"ping not masked", plain(fin|ping, ""), nil, 1002},

		// Reserved bits and opcodes, 5.2.
		{"RSV1", masked(fin|rsv1|text, "x"), nil, 1002},
		{"RSV2", masked(fin|rsv2|text, "x"), nil, 1002},
		{"RSV3", masked(fin|rsv3|text, "x"), nil, 1002},
		{"RSV1 on ping", masked(fin|rsv1|ping, "x"), nil, 1002},
		{"RSV2 on close", masked(fin|rsv2|cls, ""), nil, 1002},
		{"RSV1 after a message", join(masked(fin|text, "x"), masked(fin|rsv1|text, "y")), []string{event(1, "x")}, 1002},
		{"opcode 3", masked(fin|3, ""), nil, 1002},
		{"opcode 4", masked(fin|4, ""), nil, 1002},
		{"opcode 5", masked(fin|5, ""), nil, 1002},
		{"opcode 6", masked(fin|6, ""), nil, 1002},
		{"opcode 7", masked(fin|7, ""), nil, 1002},
		{"opcode 11", masked(fin|11, ""), nil, 1002},
		{"opcode 12", masked(fin|12, ""), nil, 1002},
		{"opcode 13", masked(fin|13, ""), nil, 1002},
		{"opcode 14", masked(fin|14, ""), nil, 1002},
		{"opcode 15", masked(fin|15, ""), nil, 1002},

		// Fragmentation, 5.4.
		{"two fragments", join(masked(text, "Hel"), masked(fin|cont, "lo")), []string{event(1, "Hello")}, 0},
		{"empty fragments", join(masked(text, ""), masked(cont, ""), masked(fin|cont, "")), []string{event(1, "")}, 0},
		{"empty first fragment", join(masked(bin, ""), masked(fin|cont, "\xffx")), []string{event(2, "\xffx")}, 0},
		{"empty last fragment", join(masked(text, "x"), masked(fin|cont, "")), []string{event(1, "x")}, 0},
		{"large fragments", join(masked(bin, b64k), masked(cont, b64k1), masked(fin|cont, b126)), []string{event(2, b64k+b64k1+b126)}, 0},
		{"ping between fragments", join(masked(text, "a"), masked(fin|ping, "p"), masked(fin|cont, "b")), []string{event(9, "p"), event(1, "ab")}, 0},
		{"pong between fragments", join(masked(text, "a"), masked(fin|pong, ""), masked(fin|cont, "b")), []string{event(10, ""), event(1, "ab")}, 0},
		{"close between fragments", join(masked(text, "a"), masked(fin|cls, ""), masked(fin|cont, "b")), []string{event(8, "")}, 0},
		{"message after fragments", join(masked(text, "a"), masked(fin|cont, "b"), masked(fin|text, "c")), []string{event(1, "ab"), event(1, "c")}, 0},
		{"text within fragments", join(masked(text, "a"), masked(fin|text, "b")), nil, 1002},
		{"binary within fragments", join(masked(text, "a"), masked(bin, "b")), nil, 1002},
		{"continuation of nothing", masked(fin|cont, "a"), nil, 1002},
		{"unfinished continuation of nothing", masked(cont, "a"), nil, 1002},
		{"continuation of a whole message", join(masked(fin|text, "a"), masked(fin|cont, "b")), []string{event(1, "a")}, 1002},

		// Control frames, 5.5.
		{"ping", masked(fin|ping, "p"), []string{event(9, "p")}, 0},
		{"ping of 125 bytes", masked(fin|ping, b125), []string{event(9, b125)}, 0},
		{"binary ping", masked(fin|ping, "\x00\xff\xfe"), []string{event(9, "\x00\xff\xfe")}, 0},
		{"pong", masked(fin|pong, "p"), []string{event(10, "p")}, 0},
		{"ping of 126 bytes", masked(fin|ping, b126), nil, 1002},
		{"ping of 65536 bytes", masked(fin|ping, b64k), nil, 1002},
		{"close of 126 bytes", masked(fin|cls, "\x03\xe8"+b126), nil, 1002},
		{"fragmented ping", masked(ping, "p"), nil, 1002},
		{"fragmented pong", masked(pong, "p"), nil, 1002},
		{"fragmented close", masked(cls, ""), nil, 1002},

		// Closing, 5.5.1: the parser ignores what follows.
		{"after close", join(masked(fin|cls, ""), masked(fin|15, "x"), masked(fin|text, "y")), []string{event(8, "")}, 0},

		// Text, 8.1.
		{"UTF-8", masked(fin|text, "κόσμε €😀"), []string{event(1, "κόσμε €😀")}, 0},
		{"UTF-8 over fragments", join(masked(text, "\xf0\x9f"), masked(cont, ""), masked(cont, "\x98"), masked(fin|cont, "\x80!")), []string{event(1, "😀!")}, 0},
		{"noncharacters are UTF-8", masked(fin|text, "\uffff\ufdd0\U0010ffff"), []string{event(1, "\uffff\ufdd0\U0010ffff")}, 0},
		{"surrogate", masked(fin|text, "\xed\xa0\x80"), nil, 1007},
		{"ends within a rune", masked(fin|text, "abc\xe2\x82"), nil, 1007},
		{"fragments end within a rune", join(masked(text, "abc\xe2"), masked(fin|cont, "\x82")), nil, 1007},
		{"last fragment empty within a rune", join(masked(text, "abc\xe2"), masked(fin|cont, "")), nil, 1007},
		{"binary need not be UTF-8", join(masked(bin, "\xff"), masked(fin|cont, "\xfe")), []string{event(2, "\xff\xfe")}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			splits(test.in, func(how string, pieces ...[]byte) {
				got, err := feed(nil, ws.Server, nil, pieces...)
				wantEvents(t, got, test.want...)
				wantCode(t, err, test.code)
				if t.Failed() {
					t.Fatal(how)
				}
			})
		})
	}
}

func TestParserClientSide(t *testing.T) {
	in := join(plain(fin|text, "Hello"), plain(bin, "a"), plain(fin|ping, "p"), plain(fin|cont, "b"))
	splits(in, func(how string, pieces ...[]byte) {
		got, err := feed(nil, ws.Client, nil, pieces...)
		wantCode(t, err, 0)
		wantEvents(t, got, event(1, "Hello"), event(9, "p"), event(2, "ab"))
	})
	// "A client MUST close a connection if it detects a masked frame", 5.1.
	_, err := feed(nil, ws.Client, nil, masked(fin|text, "Hello"))
	wantCode(t, err, 1002)
}

// An error must show at the first byte that proves it, since the rest may never come.
func TestParserFailsAtOnce(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		at   int // length of the shortest invalid prefix
		code int
	}{
		{"reserved bit", masked(fin|rsv2|text, "x"), 1, 1002},
		{"reserved opcode", masked(fin|5, "x"), 1, 1002},
		{"fragmented ping", masked(ping, "x"), 1, 1002},
		{"not masked", plain(fin|text, "x"), 2, 1002},
		{"long ping", masked(fin|ping, strings.Repeat("x", 126)), 2, 1002},
		{"16 bit length of 1", []byte{fin | text, 0x80 | 126, 0, 1, 9, 9, 9, 9, 9}, 4, 1002},
		{"too big", masked(fin|bin, strings.Repeat("x", 2000)), 4, 1009},
		{"too big with other fragments", join(masked(bin, strings.Repeat("x", 999)), masked(fin|cont, "xx")), 8 + 999 + 2, 1009},
		{"text in an incomplete frame", masked(fin|text, "κόσμε\xf4\x90\x80\x80 and more"), 6 + 10 + 2, 1007},
		{"text in an incomplete fragment", join(masked(text, "\xe2"), masked(fin|cont, "\x82x and more")), 7 + 6 + 2, 1007},
		{"surrogate", masked(fin|text, "\xed\xa0\x80"), 6 + 2, 1007},
		{"overlong", masked(fin|text, "ab\xc0\xaf"), 6 + 3, 1007},
		{"close code", masked(fin|cls, "\x03\xed"), 6 + 2, 1002},
	}
	cfg := &ws.ParserConfig{MaxMessage: 1000}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := feed(cfg, ws.Server, nil, test.in[:test.at-1]); err != nil {
				t.Errorf("%d bytes: %v, want no error yet", test.at-1, err)
			}
			_, err := feed(cfg, ws.Server, nil, test.in[:test.at])
			wantCode(t, err, test.code)
		})
	}
}

func TestParserLimits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	small := &ws.ParserConfig{MaxMessage: 10, MaxFragments: 3}
	unlimited := &ws.ParserConfig{MaxMessage: -1, MaxFragments: -1}
	tests := []struct {
		name string
		cfg  *ws.ParserConfig
		in   []byte
		code int
	}{
		{"at the limit", small, masked(fin|text, x(10)), 0},
		{"over the limit", small, masked(fin|text, x(11)), 1009},
		{"fragments at the limit", small, join(masked(text, x(5)), masked(fin|cont, x(5))), 0},
		{"fragments over the limit", small, join(masked(text, x(5)), masked(fin|cont, x(6))), 1009},
		{"each message anew", small, join(masked(fin|text, x(10)), masked(fin|text, x(10))), 0},
		{"ping does not count", small, join(masked(text, x(10)), masked(fin|ping, x(100)), masked(fin|cont, "")), 0},
		{"3 fragments", small, join(masked(text, ""), masked(cont, ""), masked(fin|cont, "")), 0},
		{"4 fragments", small, join(masked(text, ""), masked(cont, ""), masked(cont, ""), masked(fin|cont, "")), 1008},
		{"default", nil, masked(fin|bin, x(ws.DefaultMaxMessage)), 0},
		{"over the default", nil, masked(fin|bin, x(ws.DefaultMaxMessage+1)), 1009},
		{"unlimited", unlimited, masked(fin|bin, x(ws.DefaultMaxMessage+1)), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := feed(test.cfg, ws.Server, nil, test.in)
			wantCode(t, err, test.code)
		})
	}
}

func TestParserIsIdleBetweenMessages(t *testing.T) {
	var p ws.Parser
	p.Init(nil, ws.Server, nil)
	ping := masked(fin|ping, "ping")
	for _, step := range []struct {
		in   []byte
		want int // bytes buffered
	}{
		{masked(text, "abc"), 3},
		{ping[:1], 3 + 1},
		{ping[1:8], 3 + 2}, // the header is complete, and two bytes of payload wait
		{ping[8:], 3},
		{masked(fin|cont, "def"), 0},
		{masked(fin|text, "def"), 0},
		{masked(fin|text, "def")[:8], 2},
	} {
		if err := p.Feed(step.in, new(recorder)); err != nil {
			t.Fatal(err)
		}
		if p.Buffered() != step.want {
			t.Errorf("%d bytes buffered, want %d", p.Buffered(), step.want)
		}
	}
}

// failing is a Handler that refuses everything.
type failing struct{ err error }

func (f failing) OnMessage(ws.Opcode, []byte) error { return f.err }
func (f failing) OnControl(ws.Opcode, []byte) error { return f.err }

func TestParserStopsForGood(t *testing.T) {
	errStop := errors.New("stop")
	var p ws.Parser
	p.Init(nil, ws.Server, nil)
	if err := p.Feed(join(masked(fin|text, "a"), masked(fin|text, "b")), failing{errStop}); err != errStop {
		t.Fatalf("Feed: %v, want the handler's error", err)
	}
	var r recorder
	if err := p.Feed(masked(fin|text, "c"), &r); err != errStop || len(r.events) > 0 {
		t.Errorf("Feed after an error: %v, %q", err, r.events)
	}
}

func TestParserZeroCopy(t *testing.T) {
	in := join(masked(fin|text, "first"), masked(fin|text, "second"))
	var p ws.Parser
	p.Init(nil, ws.Server, nil)
	first := true
	err := p.Feed(in, handlerFunc(func(payload []byte) error {
		if first && &payload[0] != &in[6] {
			t.Error("the payload was copied")
		}
		first = false
		_ = append(payload, "overwritten?"...) // must not reach the next frame
		return nil
	}))
	wantCode(t, err, 0)
}

type handlerFunc func(payload []byte) error

func (f handlerFunc) OnMessage(_ ws.Opcode, payload []byte) error { return f(payload) }
func (f handlerFunc) OnControl(ws.Opcode, []byte) error           { return nil }

// The text check must agree with the rune decoder at every prefix: it must refuse a prefix if and
// only if no continuation makes it valid UTF-8.
func TestTextFailsFast(t *testing.T) {
	for _, s := range []string{
		"\x80", "\xbf", "\xc0", "\xc1", "\xc2\x7f", "\xc2\xc0", "\xdf\xbf\x80",
		"\xe0\x80", "\xe0\x9f", "\xe0\xa0\x7f", "\xed\xa0", "\xed\xbf\xbf", "\xef\xbf\xc0",
		"\xf0\x80", "\xf0\x8f", "\xf0\x90\x7f", "\xf0\x90\x80\x7f", "\xf4\x90", "\xf5", "\xfe", "\xff",
		"κόσμε\xed\xa0\x80edited", "a\xe2\x82a", "\xf4\x8f\xbf\xbf\xf4\x90",
	} {
		in := masked(text, s)
		want := len(in) + 1 // bytes that pass
		for n := 1; n <= len(s); n++ {
			if !viablePrefix(s[:n]) {
				want = 6 + n
				break
			}
		}
		var p ws.Parser
		p.Init(nil, ws.Server, nil)
		got := len(in) + 1
		for i, c := range in {
			if err := p.Feed([]byte{c}, new(recorder)); err != nil {
				wantCode(t, err, 1007)
				got = i + 1
				break
			}
		}
		if got != want {
			t.Errorf("%q: fails after %d bytes, want %d", s, got, want)
		}
	}
}

// viablePrefix reports whether some string that begins with s is valid UTF-8. It tries all kinds of
// endings.
func viablePrefix(s string) bool {
	for _, end := range []string{"", "\x80", "\xa0\x80", "\x80\x80", "\x90\x80\x80", "\x80\x80\x80", "\xa0"} {
		if strings.ToValidUTF8(s+end, "") == s+end {
			return true
		}
	}
	return false
}

// muter mutes the parser at the n-th message.
type muter struct {
	recorder
	p *ws.Parser
	n int
}

func (m *muter) OnMessage(op ws.Opcode, payload []byte) error {
	if m.n--; m.n == 0 {
		m.p.Mute()
	}
	return m.recorder.OnMessage(op, payload)
}

// A muted parser decodes nothing that follows, however it is cut, but finds the Close frame.
func TestMute(t *testing.T) {
	const notDeflate = "\xff\xff\xff\xff"
	stream := slices.Concat(
		masked(fin|text, "first"),
		masked(fin|text, "\xff is no UTF-8"),
		masked(fin|rsv1|bin, notDeflate),
		masked(text, "\xff"), masked(fin|ping, "a"), masked(cont, "\xff"), masked(fin|cont, ""),
		masked(fin|bin, strings.Repeat("x", 1000)),
		masked(fin|pong, ""),
		masked(fin|cls, "\x03\xe8bye"),
		masked(fin|text, "after"),
	)
	want := []string{`text "first"`, `close "\x03\xe8bye"`}
	for size := 1; size <= len(stream); size++ {
		h := &muter{p: new(ws.Parser), n: 1}
		h.p.Init(nil, ws.Server, &ws.DeflateParams{ClientMaxWindowBits: 15, ServerMaxWindowBits: 15})
		for b := slices.Clone(stream); len(b) > 0; {
			n := min(size, len(b))
			if err := h.p.Feed(b[:n], h); err != nil {
				t.Fatalf("%d bytes at a time: %v", size, err)
			}
			b = b[n:]
			if kept := h.p.Buffered(); len(h.events) == 1 && kept > 13 { // of a header, or of the Close frame
				t.Fatalf("%d bytes at a time: %d bytes are kept", size, kept)
			}
		}
		if !slices.Equal(h.events, want) {
			t.Fatalf("%d bytes at a time: %q, want %q", size, h.events, want)
		}
	}
}

// Mute drops the part of a message that has arrived, and the parser drops the rest.
func TestMuteWithinAMessage(t *testing.T) {
	stream := slices.Concat(masked(text, "begun, "), masked(fin|cont, "ended"), masked(fin|text, "next"), masked(fin|cls, ""))
	for at := range len(stream) - 6 - 10 - 11 + 1 { // all of the first message
		var p ws.Parser
		var r recorder
		p.Init(nil, ws.Server, nil)
		b := slices.Clone(stream)
		if err := p.Feed(b[:at], &r); err != nil {
			t.Fatal(err)
		}
		before := len(r.events)
		p.Mute()
		if err := p.Feed(b[at:], &r); err != nil {
			t.Fatalf("muted after %d bytes: %v", at, err)
		}
		if got := r.events[before:]; !slices.Equal(got, []string{`close ""`}) {
			t.Errorf("muted after %d bytes: %q", at, got)
		}
	}
}

func TestMutedParserReportsFaults(t *testing.T) {
	var p ws.Parser
	p.Init(nil, ws.Server, nil)
	p.Mute()
	var fault *ws.CloseError
	if err := p.Feed(masked(fin|0x3, ""), new(recorder)); !errors.As(err, &fault) {
		t.Errorf("a reserved opcode: %v", err)
	}
}

// stopper stops its parser at every message.
type stopper struct {
	recorder
	p ws.Parser
}

func (s *stopper) OnMessage(op ws.Opcode, payload []byte) error {
	s.p.Stop()
	return s.recorder.OnMessage(op, payload)
}

// Each call of Feed yields at most one message, whatever it is given, and no message is lost.
func TestStop(t *testing.T) {
	stream := slices.Concat(
		masked(fin|text, "first"), masked(fin|text, ""), masked(fin|ping, "a"),
		masked(text, "begun, "), masked(fin|ping, "b"), masked(fin|cont, "ended"),
		masked(fin|bin, strings.Repeat("x", 400)), masked(fin|cls, ""), masked(fin|text, "after"),
	)
	want := new(recorder)
	var p ws.Parser
	p.Init(nil, ws.Server, nil)
	if err := p.Feed(slices.Clone(stream), want); err != nil {
		t.Fatal(err)
	}
	messages := func(events []string) (n int) {
		for _, e := range events {
			if strings.HasPrefix(e, "text") || strings.HasPrefix(e, "binary") {
				n++
			}
		}
		return n
	}
	for size := 1; size <= len(stream); size++ {
		h := new(stopper)
		h.p.Init(nil, ws.Server, nil)
		feed := func(b []byte) {
			before := messages(h.events)
			if err := h.p.Feed(b, h); err != nil {
				t.Fatalf("%d bytes at a time: %v", size, err)
			}
			clear(b) // it belongs to the caller again
			if n := messages(h.events) - before; n > 1 {
				t.Fatalf("%d bytes at a time: %d messages in one call", size, n)
			}
		}
		for b := slices.Clone(stream); len(b) > 0; {
			n := min(size, len(b))
			feed(b[:n])
			b = b[n:]
		}
		for range 10 {
			feed(nil)
		}
		if !slices.Equal(h.events, want.events) || h.p.Buffered() != 0 {
			t.Fatalf("%d bytes at a time: %q, want %q; %d bytes kept", size, h.events, want.events, h.p.Buffered())
		}
	}
}

// A stopped parser that is muted skips the bytes it has kept, and still finds the next frame.
func TestStopAndMute(t *testing.T) {
	stream := slices.Concat(masked(fin|text, "first"), masked(fin|text, "second"), masked(fin|bin, "third"), masked(fin|cls, ""))
	for at := len(masked(fin|text, "first")); at <= len(stream); at++ {
		h := new(stopper)
		h.p.Init(nil, ws.Server, nil)
		b := slices.Clone(stream)
		for _, piece := range [][]byte{b[:at], nil, b[at:]} {
			if piece == nil {
				h.p.Mute()
			}
			if err := h.p.Feed(piece, h); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{`text "first"`, `close ""`}; !slices.Equal(h.events, want) {
			t.Errorf("stopped within %d bytes: %q, want %q", at, h.events, want)
		}
	}
}
