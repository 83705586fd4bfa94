package ws_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

// discard is a Handler that ignores everything.
type discard struct{}

func (discard) OnMessage(ws.Opcode, []byte) error { return nil }
func (discard) OnControl(ws.Opcode, []byte) error { return nil }

func TestAllocs(t *testing.T) {
	in := masked(fin|text, `42["message","Hello, client!"]`)
	small := masked(fin|ping, "")
	scratch := make([]byte, len(in))
	var p ws.Parser
	p.Init(nil, ws.Server, nil)
	dst := make([]byte, 0, 1000)
	payload := in[6:]
	for _, test := range []struct {
		name string
		f    func()
	}{
		{"Feed message", func() { p.Feed(scratch[:copy(scratch, in)], discard{}) }},
		{"Feed ping", func() { p.Feed(scratch[:copy(scratch, small)], discard{}) }},
		{"Feed cut header", func() {
			p.Feed(scratch[:copy(scratch, in[:3])], discard{})
			p.Feed(scratch[:copy(scratch, in[3:])], discard{})
		}},
		{"AppendFrame", func() { ws.AppendFrame(dst, ws.OpText, payload) }},
		{"AppendMaskedFrame", func() { ws.AppendMaskedFrame(dst, ws.OpText, payload) }},
	} {
		if n := testing.AllocsPerRun(1000, test.f); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

func BenchmarkFeed(b *testing.B) {
	for _, size := range []int{30, 1000, 60_000} {
		for _, op := range []ws.Opcode{ws.OpText, ws.OpBinary} {
			b.Run(fmt.Sprintf("%s/%d", opcodeNames[op], size), func(b *testing.B) {
				in := masked(fin|byte(op), strings.Repeat("x", size))
				scratch := make([]byte, len(in))
				var p ws.Parser
				p.Init(nil, ws.Server, nil)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := p.Feed(scratch[:copy(scratch, in)], discard{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := []byte(`42["message","Hello, client!"]`)
	dst := make([]byte, 0, 100)
	for _, test := range []struct {
		name string
		f    func([]byte, ws.Opcode, []byte) []byte
	}{{"server", ws.AppendFrame}, {"client", ws.AppendMaskedFrame}} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				test.f(dst, ws.OpText, payload)
			}
		})
	}
}

func BenchmarkDeflate(b *testing.B) {
	payload := []byte(testMessages()[5][:4000])
	dst := make([]byte, 0, 8000)
	for _, bits := range []int{9, 15} {
		for name, base := range map[string]*ws.DeflateParams{"takeover": takeover, "reset": noTakeover} {
			b.Run(fmt.Sprintf("%s/%d", name, bits), func(b *testing.B) {
				params := *base
				params.ServerMaxWindowBits = bits
				d := ws.NewDeflater(ws.Server, &params)
				b.SetBytes(int64(len(payload)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.AppendFrame(dst, ws.OpText, payload); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	payload := []byte(testMessages()[5][:4000])
	for name, params := range map[string]*ws.DeflateParams{"takeover": takeover, "reset": noTakeover} {
		b.Run(name, func(b *testing.B) {
			// It has no context, so the benchmark can feed it again and again.
			in, err := ws.NewDeflater(ws.Server, noTakeover).AppendFrame(nil, ws.OpText, payload)
			if err != nil {
				b.Fatal(err)
			}
			scratch := make([]byte, len(in))
			var p ws.Parser
			p.Init(nil, ws.Client, params)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Feed(scratch[:copy(scratch, in)], discard{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAccept(b *testing.B) {
	r := request(b, handshake+"Origin: http://server.example.com\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
	o := &ws.AcceptOptions{Compression: &ws.Compression{NoServerContextTakeover: true}}
	dst := make([]byte, 0, 500)
	b.ReportAllocs()
	for b.Loop() {
		a, err := ws.Accept(r, o)
		if err != nil {
			b.Fatal(err)
		}
		a.AppendResponse(dst)
	}
}
