package ws_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

var fuzzLimits = &ws.ParserConfig{MaxMessage: 4096, MaxFragments: 20}

// However the bytes are cut, the parser must read the same from them, keep no more than it received,
// and pass on nothing beyond its limits.
func FuzzParser(f *testing.F) {
	f.Add(masked(fin|text, "Hello"), false, byte(0), uint16(3))
	f.Add(plain(fin|text, "Hello"), true, byte(0), uint16(1))
	f.Fuzz(func(t *testing.T, in []byte, client bool, mode byte, cut uint16) {
		side := ws.Server
		if client {
			side = ws.Client
		}
		d := []*ws.DeflateParams{nil, noTakeover, takeover}[mode%3]
		run := func(pieces ...[]byte) ([]string, int) {
			var p ws.Parser
			r := limited{recorder{}, t}
			p.Init(fuzzLimits, side, d)
			for _, piece := range pieces {
				before := p.Buffered()
				err := p.Feed(slices.Clone(piece), &r)
				if p.Buffered() > before+len(piece) {
					t.Fatalf("%d bytes buffered, of %d more", p.Buffered()-before, len(piece))
				}
				var fault *ws.CloseError
				if errors.As(err, &fault) {
					if len(r.events) > 0 && strings.HasPrefix(r.events[len(r.events)-1], "close") {
						t.Fatal("an error after the Close frame")
					}
					return r.events, fault.Code
				}
				if err != nil {
					t.Fatalf("error %v is not a CloseError", err)
				}
			}
			return r.events, 0
		}
		events, code := run(in)
		at := int(cut) % (len(in) + 1)
		if e, c := run(in[:at], in[at:]); c != code || !slices.Equal(e, events) {
			t.Fatalf("cut at %d: %q and code %d, whole: %q and code %d", at, e, c, events, code)
		}
		var single [][]byte
		for i := range in {
			single = append(single, in[i:i+1])
		}
		if e, c := run(single...); c != code || !slices.Equal(e, events) {
			t.Fatalf("single bytes: %q and code %d, whole: %q and code %d", e, c, events, code)
		}
	})
}

// limited is a recorder that checks messages against the limit of FuzzParser.
type limited struct {
	recorder
	t *testing.T
}

func (r *limited) OnMessage(op ws.Opcode, payload []byte) error {
	if int64(len(payload)) > fuzzLimits.MaxMessage {
		r.t.Errorf("message of %d bytes", len(payload))
	}
	return r.recorder.OnMessage(op, payload)
}

// The other side can inflate what a Deflater makes, within the window.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("Hello, Hello, Hello"), []byte("Hello"), byte(9), false)
	f.Fuzz(func(t *testing.T, first, second []byte, bits byte, reset bool) {
		d := *takeover
		d.ServerMaxWindowBits = 8 + int(bits%8)
		d.ServerNoContextTakeover = reset
		deflater := ws.NewDeflater(ws.Server, &d)
		var wire []byte
		var err error
		for _, m := range [][]byte{first, second, first} {
			if wire, err = deflater.AppendFrame(wire, ws.OpBinary, m); err != nil {
				t.Fatal(err)
			}
		}
		got, err := feed(nil, ws.Client, &d, wire)
		wantCode(t, err, 0)
		wantEvents(t, got, event(ws.OpBinary, string(first)), event(ws.OpBinary, string(second)), event(ws.OpBinary, string(first)))
	})
}

// Whatever a client offers, it must not get an invalid window, and must not inject a line into the
// response.
func FuzzExtensions(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits=10, foo; bar=\"b\"", byte(12))
	f.Fuzz(func(t *testing.T, offer string, bits byte) {
		r := &http.Request{
			Method: "GET", Host: "example.com", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Extensions": {offer},
			},
		}
		limit := 8 + int(bits%8)
		a, err := ws.Accept(r, &ws.AcceptOptions{Compression: &ws.Compression{ServerMaxWindowBits: limit}})
		if err != nil || a.Deflate == nil {
			return
		}
		if d := a.Deflate; d.ServerMaxWindowBits < 8 || d.ServerMaxWindowBits > limit || d.ClientMaxWindowBits < 8 || d.ClientMaxWindowBits > 15 {
			t.Fatalf("agreed on %+v", d)
		}
		if n := bytes.Count(a.AppendResponse(nil), []byte("\r\n")); n != 6 {
			t.Fatalf("response of %d lines", n)
		}
	})
}
