package ws_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

var (
	takeover   = &ws.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	noTakeover = &ws.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
)

// These are the examples of RFC 7692, 7.2.3, and similar frames that are invalid.
func TestInflate(t *testing.T) {
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	first := byte(fin | rsv1 | text)
	tests := []struct {
		name string
		d    *ws.DeflateParams
		in   []byte
		want []string
		code int
	}{
		{"one block", noTakeover, masked(first, hello), []string{event(1, "Hello")}, 0},
		{"fragments", noTakeover, join(masked(rsv1|text, hello[:3]), masked(fin|cont, hello[3:])), []string{event(1, "Hello")}, 0},
		{"ping between fragments", noTakeover, join(masked(rsv1|text, hello[:3]), masked(fin|ping, "p"), masked(fin|cont, hello[3:])), []string{event(9, "p"), event(1, "Hello")}, 0},
		{"empty fragments", noTakeover, join(masked(rsv1|text, ""), masked(cont, hello), masked(fin|cont, "")), []string{event(1, "Hello")}, 0},
		{"context taken over", takeover, join(masked(first, hello), masked(first, "\xf2\x00\x11\x00\x00")), []string{event(1, "Hello"), event(1, "Hello")}, 0},
		{"context taken over a plain message", takeover, join(masked(first, hello), masked(fin|text, "plain"), masked(first, "\xf2\x00\x11\x00\x00")), []string{event(1, "Hello"), event(1, "plain"), event(1, "Hello")}, 0},
		{"context taken over against the agreement", noTakeover, join(masked(first, hello), masked(first, "\xf2\x00\x11\x00\x00")), []string{event(1, "Hello")}, 1007},
		{"stored block", noTakeover, masked(first, "\x00\x05\x00\xfa\xffHello\x00"), []string{event(1, "Hello")}, 0},
		{"final block", noTakeover, masked(first, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{event(1, "Hello")}, 0},
		{"final block without the empty one", noTakeover, masked(first, "\xf3\x48\xcd\xc9\xc9\x07\x00"), []string{event(1, "Hello")}, 0},
		{"context after a final block", noTakeover, masked(first, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"), []string{event(1, "HelloHello")}, 0},
		{"two blocks", noTakeover, masked(first, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{event(1, "Hello")}, 0},
		{"empty", noTakeover, masked(first, "\x00"), []string{event(1, "")}, 0},
		{"not compressed", noTakeover, masked(fin|text, "Hello"), []string{event(1, "Hello")}, 0},

		{"no block", noTakeover, masked(first, ""), nil, 1007}, // even an empty message has one, 7.2.3.6
		{"reserved block type", noTakeover, masked(first, "\xff\xff\xff"), nil, 1007},
		{"cut off", noTakeover, masked(first, hello[:4]), nil, 1007},
		{"too far back", noTakeover, masked(first, "\xf2\x00\x11\x00\x00"), nil, 1007},
		{"many final blocks", noTakeover, masked(first, strings.Repeat("\x03\x00", 20)), nil, 1007},
		{"RSV1 on a continuation", noTakeover, join(masked(rsv1|text, hello[:3]), masked(fin|rsv1|cont, hello[3:])), nil, 1002},
		{"RSV1 on a ping", noTakeover, masked(fin|rsv1|ping, ""), nil, 1002},
		{"RSV2", noTakeover, masked(fin|rsv1|rsv2|text, hello), nil, 1002},
		{"not UTF-8", noTakeover, masked(first, "\x00\x01\x00\xfe\xff\xff\x00"), nil, 1007},
		{"binary need not be UTF-8", noTakeover, masked(fin|rsv1|bin, "\x00\x01\x00\xfe\xff\xff\x00"), []string{event(2, "\xff")}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			splits(test.in, func(how string, pieces ...[]byte) {
				got, err := feed(nil, ws.Server, test.d, pieces...)
				wantEvents(t, got, test.want...)
				wantCode(t, err, test.code)
				if t.Failed() {
					t.Fatal(how)
				}
			})
		})
	}
}

// A client that has agreed to a smaller window must keep to it, and the parser keeps no more.
func TestInflateWindow(t *testing.T) {
	d := *takeover
	d.ClientMaxWindowBits = 9
	deflater := ws.NewDeflater(ws.Client, takeover) // violates the agreement
	var wire []byte
	var want []string
	for _, m := range []string{noise[:400], noise[400:800], noise[:400]} {
		var err error
		if wire, err = deflater.AppendFrame(wire, ws.OpBinary, []byte(m)); err != nil {
			t.Fatal(err)
		}
		want = append(want, event(ws.OpBinary, m))
	}
	got, err := feed(nil, ws.Server, &d, wire)
	wantCode(t, err, 1007)
	wantEvents(t, got, want[:2]...) // the third refers 800 bytes back
}

// noise does not compress.
var noise = func() string {
	b := make([]byte, 70_000)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}()

// testMessages returns messages that compress and some that do not, with repetitions at all
// distances.
func testMessages() []string {
	var log strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&log, "message %d from user %d; ", i, i*i%97)
	}
	return []string{
		"", "a", "Hello", "Hello",
		strings.Repeat("abc", 100),
		log.String(),
		log.String()[:5000],
		noise[:300] + noise[:300],
		noise[:33_000] + noise[:33_000],
		noise[:20_000],
	}
}

// With every combination of parameters, one side reads what the other sends, and no reference goes
// beyond the negotiated window (RFC 7692, 7.1.2).
func TestDeflateParameters(t *testing.T) {
	messages := testMessages()
	for bits := 8; bits <= 15; bits++ {
		for _, reset := range []bool{false, true} {
			for _, side := range []ws.Side{ws.Server, ws.Client} {
				d := *takeover
				if side == ws.Server {
					d.ServerMaxWindowBits, d.ServerNoContextTakeover = bits, reset
				} else {
					d.ClientMaxWindowBits, d.ClientNoContextTakeover = bits, reset
				}
				t.Run(fmt.Sprintf("%d bits, reset %v, side %d", bits, reset, side), func(t *testing.T) {
					deflater := ws.NewDeflater(side, &d)
					var wire, stream []byte
					var text string
					var want []string
					for _, m := range messages {
						var err error
						if wire, err = deflater.AppendFrame(wire, ws.OpBinary, []byte(m)); err != nil {
							t.Fatal(err)
						}
						want = append(want, event(ws.OpBinary, m))
					}
					got, err := feed(nil, 1-side, &d, wire)
					wantCode(t, err, 0)
					wantEvents(t, got, want...)

					// Compress the messages again, as one DEFLATE stream or, without takeover,
					// each as its own stream.
					deflater = ws.NewDeflater(side, &d)
					for i, m := range messages {
						if stream, err = deflater.AppendMessage(stream, []byte(m)); err != nil {
							t.Fatal(err)
						}
						stream = append(stream, "\x00\x00\xff\xff"...)
						text += m
						if !reset && i < len(messages)-1 {
							continue
						}
						out, far := farthest(t, stream)
						if string(out) != text {
							t.Error("the stream does not hold the messages")
						}
						if far > 1<<bits {
							t.Errorf("reference %d bytes back with a window of %d", far, 1<<bits)
						}
						stream, text = stream[:0], ""
					}
				})
			}
		}
	}
}

func TestContextTakeover(t *testing.T) {
	message := []byte(testMessages()[6])
	size := func(d *ws.Deflater) (first, second []byte) {
		t.Helper()
		first, err := d.AppendMessage(nil, message)
		if err != nil {
			t.Fatal(err)
		}
		second, err = d.AppendMessage(nil, message)
		if err != nil {
			t.Fatal(err)
		}
		return first, second
	}
	d := ws.NewDeflater(ws.Server, takeover)
	if first, second := size(d); len(second) > len(first)*3/4 {
		t.Errorf("with takeover: %d bytes, then %d", len(first), len(second))
	}
	if d.Shareable() {
		t.Error("a deflater with takeover says it is shareable")
	}
	d = ws.NewDeflater(ws.Server, noTakeover)
	if first, second := size(d); !bytes.Equal(first, second) {
		t.Error("without takeover: the same message differs")
	}
	if !d.Shareable() {
		t.Error("a deflater without takeover says it is not shareable")
	}
}

// One Deflater without takeover can serve all connections at the same time.
func TestSharedDeflater(t *testing.T) {
	d := ws.NewDeflater(ws.Server, noTakeover)
	var group sync.WaitGroup
	for _, m := range testMessages() {
		group.Go(func() {
			for range 10 {
				frame, err := d.AppendFrame([]byte("dst"), ws.OpBinary, []byte(m))
				if err != nil || string(frame[:3]) != "dst" {
					t.Errorf("AppendFrame: %v", err)
					return
				}
				for range 2 { // two receivers
					got, err := feed(nil, ws.Client, noTakeover, frame[3:])
					wantCode(t, err, 0)
					wantEvents(t, got, event(ws.OpBinary, m))
				}
			}
		})
	}
	group.Wait()
}

func TestDeflateLevels(t *testing.T) {
	message := testMessages()[5]
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		for _, base := range []*ws.DeflateParams{takeover, noTakeover} {
			d := *base
			d.Level = level
			frame, err := ws.NewDeflater(ws.Client, &d).AppendFrame(nil, ws.OpText, []byte(message))
			if err != nil {
				t.Fatal(err)
			}
			got, err := feed(nil, ws.Server, &d, frame)
			wantCode(t, err, 0)
			wantEvents(t, got, event(ws.OpText, message))
		}
	}
}

func TestInflateLimits(t *testing.T) {
	cfg := &ws.ParserConfig{MaxMessage: 1000}
	for _, test := range []struct {
		name    string
		message string
		code    int
	}{
		{"at the limit", strings.Repeat("x", 1000), 0},
		{"over the limit", strings.Repeat("x", 1001), 1009},
		{"noise at the limit", noise[:1000], 0},
		{"noise over the limit", noise[:1001], 1009},
		{"much noise", noise[:2000], 1009},
	} {
		frame, err := ws.NewDeflater(ws.Client, noTakeover).AppendFrame(nil, ws.OpBinary, []byte(test.message))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(test.name, func(t *testing.T) {
			_, err := feed(cfg, ws.Server, noTakeover, frame)
			wantCode(t, err, test.code)
		})
	}
	// The declared length alone is enough.
	_, err := feed(cfg, ws.Server, noTakeover, masked(fin|rsv1|bin, strings.Repeat("x", 1500))[:4])
	wantCode(t, err, 1009)
}

// allocated returns the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
