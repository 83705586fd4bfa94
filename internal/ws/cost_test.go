package ws_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

func TestCost(t *testing.T) {
	var p ws.Parser
	d := &ws.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	p.Init(nil, ws.Server, d)
	part := func(op ws.Opcode, fin bool, size int) []byte {
		b := ws.AppendMaskedFrame(nil, op, make([]byte, size))
		if !fin {
			b[0] &^= 0x80
		}
		return b
	}
	frame := func(op ws.Opcode, fin bool) []byte { return part(op, fin, 0) }
	type cost struct{ frames, inflated int }
	feed := func(b []byte) cost {
		t.Helper()
		if err := p.Feed(b, &recorder{}); err != nil {
			t.Fatal(err)
		}
		return cost{p.TakeFrames(), p.TakeInflated()}
	}
	if got := feed(frame(ws.OpText, true)); got != (cost{}) {
		t.Errorf("a message costs %+v", got)
	}
	if got := feed(append(frame(ws.OpPong, true), frame(ws.OpPing, true)...)); got != (cost{frames: 2}) {
		t.Errorf("two control frames cost %+v", got)
	}
	fragments := bytes.Join([][]byte{frame(ws.OpText, false), frame(ws.OpContinuation, false), frame(ws.OpContinuation, true)}, nil)
	if got := feed(fragments); got != (cost{frames: 2}) {
		t.Errorf("three fragments cost %+v", got)
	}
	pieces := bytes.Join([][]byte{part(ws.OpBinary, false, 4096), part(ws.OpContinuation, false, 1024), part(ws.OpContinuation, true, 1023)}, nil)
	if got := feed(pieces); got != (cost{frames: 1}) {
		t.Errorf("a small fragment after two large ones costs %+v", got)
	}
	random := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	noise, err := ws.NewDeflater(ws.Client, d).AppendFrame(nil, ws.OpBinary, random)
	if err != nil {
		t.Fatal(err)
	}
	if got := feed(noise); noise[0]&0x40 == 0 || got != (cost{}) {
		t.Errorf("a compressed message that does not grow costs %+v", got)
	}
	large, err := ws.NewDeflater(ws.Client, d).AppendFrame(nil, ws.OpText, bytes.Repeat([]byte("a"), 100_000))
	if err != nil {
		t.Fatal(err)
	}
	if got := feed(large); got != (cost{inflated: 100_000 - (len(large) - 8)}) { // without a header of 8 bytes
		t.Errorf("a message of %d bytes that inflates to 100,000 costs %+v", len(large), got)
	}
	if got := feed(nil); got != (cost{}) {
		t.Errorf("it costs twice: %+v", got)
	}
	p.Mute()
	if got := feed(append(frame(ws.OpText, true), large...)); got != (cost{frames: 2}) {
		t.Errorf("two muted frames cost %+v", got)
	}
}
