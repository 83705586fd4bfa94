package ws_test

import (
	"testing"

	"github.com/parley-go/parley/internal/ws"
	"pgregory.net/rapid"
)

// Messages arrive as they were sent, whether compressed or not, however they are fragmented and cut,
// and wherever control frames come between.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := ws.Side(rapid.IntRange(0, 1).Draw(t, "sender"))
		d := &ws.DeflateParams{
			ServerMaxWindowBits:     rapid.IntRange(8, 15).Draw(t, "server bits"),
			ClientMaxWindowBits:     rapid.IntRange(8, 15).Draw(t, "client bits"),
			ServerNoContextTakeover: rapid.Bool().Draw(t, "server resets"),
			ClientNoContextTakeover: rapid.Bool().Draw(t, "client resets"),
		}
		frame := plain
		if side == ws.Client {
			frame = masked
		}
		deflater := ws.NewDeflater(side, d)
		var wire []byte
		var want []string
		for range rapid.IntRange(0, 5).Draw(t, "messages") {
			var payload []byte
			op := ws.OpBinary
			if rapid.Bool().Draw(t, "text") {
				op, payload = ws.OpText, []byte(rapid.StringN(-1, -1, 2000).Draw(t, "payload"))
			} else {
				payload = rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "payload")
			}
			first, body := byte(op), payload
			if rapid.Bool().Draw(t, "compressed") {
				var err error
				if body, err = deflater.AppendMessage(nil, payload); err != nil {
					t.Fatal(err)
				}
				first |= rsv1
			}
			for rapid.Bool().Draw(t, "fragment") {
				n := rapid.IntRange(0, len(body)).Draw(t, "size")
				wire = append(wire, frame(first, string(body[:n]))...)
				first, body = cont, body[n:]
				if rapid.Bool().Draw(t, "ping") {
					wire = append(wire, frame(fin|ping, "between")...)
					want = append(want, event(ws.OpPing, "between"))
				}
			}
			wire = append(wire, frame(fin|first, string(body))...)
			want = append(want, event(op, string(payload)))
		}
		var pieces [][]byte
		for len(wire) > 0 {
			n := rapid.IntRange(1, len(wire)).Draw(t, "piece")
			pieces = append(pieces, wire[:n])
			wire = wire[n:]
		}
		got, err := feed(nil, 1-side, d, pieces...)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("event %d: %s, want %s", i, got[i], want[i])
			}
		}
	})
}
