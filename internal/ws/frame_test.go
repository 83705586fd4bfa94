package ws_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

func TestAppendFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		payload := strings.Repeat("p", n)
		want := append([]byte("dst"), plain(fin|text, payload)...)
		if got := ws.AppendFrame([]byte("dst"), ws.OpText, []byte(payload)); !bytes.Equal(got, want) {
			t.Errorf("frame of %d bytes starts %x, want %x", n, got[:min(len(got), 16)], want[:min(len(want), 16)])
		}
		if got := ws.AppendHeader(nil, ws.OpText, true, false, n); len(got) > ws.MaxHeader || !bytes.Equal(got, lengthOf(fin|text, 0, n)) {
			t.Errorf("header of %d bytes is %x", n, got)
		}
	}
	for _, test := range []struct {
		fin, rsv1 bool
		want      byte
	}{{false, false, bin}, {true, false, fin | bin}, {false, true, rsv1 | bin}, {true, true, fin | rsv1 | bin}} {
		if got := ws.AppendHeader(nil, ws.OpBinary, test.fin, test.rsv1, 1); got[0] != test.want {
			t.Errorf("first byte %#x, want %#x", got[0], test.want)
		}
	}
}

// Masking must give the same result however a payload is cut. Lengths of 0 to 100 bytes cover every
// case of the loops.
func TestMasking(t *testing.T) {
	var payload []byte
	for n := range 100 {
		frame := ws.AppendMaskedFrame(nil, ws.OpBinary, payload)
		key, body := frame[2:6], frame[6:]
		if frame[0] != fin|bin || frame[1] != 0x80|byte(n) {
			t.Fatalf("%d bytes: header %x", n, frame[:2])
		}
		for i := range body {
			if body[i]^key[i%4] != payload[i] {
				t.Fatalf("%d bytes: byte %d is masked wrongly", n, i)
			}
		}
		splits(frame, func(how string, pieces ...[]byte) {
			got, err := feed(nil, ws.Server, nil, pieces...)
			wantCode(t, err, 0)
			wantEvents(t, got, event(ws.OpBinary, string(payload)))
		})
		payload = append(payload, byte(n*7))
	}
}
