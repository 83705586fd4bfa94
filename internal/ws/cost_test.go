package ws_test

import (
	"bytes"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

func TestCost(t *testing.T) {
	var p ws.Parser
	d := &ws.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	p.Init(nil, ws.Server, d)
	frame := func(op ws.Opcode, fin bool) []byte {
		first := byte(op)
		if fin {
			first |= 0x80
		}
		return []byte{first, 0x80, 0, 0, 0, 0} // empty and masked
	}
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
	large, err := ws.NewDeflater(ws.Client, d).AppendFrame(nil, ws.OpText, bytes.Repeat([]byte("a"), 100_000))
	if err != nil {
		t.Fatal(err)
	}
	if got := feed(large); got != (cost{inflated: 100_000}) {
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
