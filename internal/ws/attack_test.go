package ws_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/internal/ws"
)

// Each of these tests tries a published attack on WebSocket implementations.

// The parser must not inflate a bomb beyond the limit (CVE-2026-27571 in NATS).
func TestAttackDeflateBomb(t *testing.T) {
	const limit = 1 << 20
	bomb, err := ws.NewDeflater(ws.Client, noTakeover).AppendFrame(nil, ws.OpBinary, make([]byte, 30<<20))
	if err != nil {
		t.Fatal(err)
	}
	if len(bomb) > limit {
		t.Fatalf("the bomb has %d bytes, so the parser refuses it without inflating", len(bomb))
	}
	used := allocated(func() {
		_, err = feed(&ws.ParserConfig{MaxMessage: limit}, ws.Server, noTakeover, bomb)
	})
	wantCode(t, err, ws.CloseMessageTooBig)
	// The allocations are a copy of the input, a decompressor, and buffers, each twice as large as
	// the one before.
	if most := uint64(len(bomb) + 64<<10 + 2*limit + limit/2); used > most {
		t.Errorf("%d bytes allocated for a limit of %d", used, limit)
	}
}

// Memory use must follow what has arrived, not what a frame declares.
func TestAttackDeclaredLength(t *testing.T) {
	const conns = 1000
	parsers := make([]ws.Parser, conns)
	head := masked(fin|bin, strings.Repeat("x", 900_000))[:15] // one byte of payload
	used := allocated(func() {
		for i := range parsers {
			parsers[i].Init(nil, ws.Server, nil)
			if err := parsers[i].Feed(bytes.Clone(head), new(recorder)); err != nil {
				t.Fatal(err)
			}
		}
	})
	if used > conns*1024 {
		t.Errorf("%d bytes allocated for %d connections that sent one byte each", used, conns)
	}
}

// The parser must not copy a message again with each of its many pieces.
func TestAttackManyPieces(t *testing.T) {
	const size = ws.DefaultMaxMessage
	in := masked(fin|bin, strings.Repeat("x", size))
	var p ws.Parser
	p.Init(nil, ws.Server, nil)
	length := 0
	h := handlerFunc(func(payload []byte) error { length = len(payload); return nil })
	used := allocated(func() {
		for len(in) > 0 {
			n := min(100, len(in))
			if err := p.Feed(in[:n], h); err != nil {
				t.Fatal(err)
			}
			in = in[n:]
		}
	})
	if length != size {
		t.Fatalf("message of %d bytes", length)
	}
	// This is the total; at most two buffers are alive at once.
	if used > 2*size+size/2 {
		t.Errorf("%d bytes allocated for a message of %d", used, size)
	}
}

// Endless fragments must not use up memory, and must be stopped at some point (CVE-2026-48779 and
// CVE-2026-62389 in npm ws).
func TestAttackFragmentBomb(t *testing.T) {
	for _, content := range []string{"", "x"} {
		var p ws.Parser
		p.Init(nil, ws.Server, nil)
		var err error
		frames := 0
		used := allocated(func() {
			r := new(recorder)
			frame, next := masked(text, content), masked(cont, content)
			buf := make([]byte, len(frame))
			for err == nil && frames < 1<<20 {
				copy(buf, frame)
				err = p.Feed(buf, r)
				frame = next
				frames++
			}
		})
		wantCode(t, err, ws.ClosePolicyViolation)
		if frames != ws.DefaultMaxFragments+1 {
			t.Errorf("%q: the parser accepted %d fragments", content, frames)
		}
		if used > 64<<10 {
			t.Errorf("%q: %d bytes allocated", content, used)
		}
	}
}

// Adding a fragment's length to what has arrived must not overflow (CVE-2020-27813 in
// gorilla/websocket).
func TestAttackLengthOverflow(t *testing.T) {
	huge := []byte{cont, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}
	for _, cfg := range []*ws.ParserConfig{nil, {MaxMessage: -1}} {
		for _, d := range []*ws.DeflateParams{nil, noTakeover} {
			first := byte(bin)
			if d != nil {
				first |= rsv1
			}
			_, err := feed(cfg, ws.Server, d, masked(first, "abc"), huge)
			wantCode(t, err, ws.CloseMessageTooBig)
		}
	}
}

// A ping flood must not use up memory, whether or not the pongs can be written.
func TestAttackPingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		c := ws.NewConn(nc, ws.ConnOptions{})
		var group sync.WaitGroup
		group.Go(func() { c.WriteMessage(ctx, ws.OpText, []byte("nobody reads this")) })
		synctest.Wait()
		group.Go(func() { c.ReadMessage(ctx) })
		frame := masked(fin|ping, strings.Repeat("p", 125))
		const pings = 20_000 // 2.5 MB of payload
		before := alive()
		for range pings {
			if _, err := peer.Write(frame); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if used := alive() - before; used > 100<<10 {
			t.Errorf("%d bytes are alive after %d pings", used, pings)
		}
		peer.Close()
		group.Wait()
	})
}

// alive returns the bytes of all objects that are reachable.
func alive() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Concurrent writers must not lose, duplicate or interleave pongs. Run this test with the race
// detector.
func TestAttackSeveralPongs(t *testing.T) {
	const pings, messages = 200, 100
	address := serve(t, nil, func(c *ws.Conn) {
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				for range messages {
					c.WriteMessage(ctx, ws.OpText, []byte("busy"))
				}
			})
		}
		c.ReadMessage(ctx)
		group.Wait()
	})
	nc, err := net.Dial("tcp", strings.TrimPrefix(address, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, handshake+"\r\n")
	readHead(nc)
	var got []string
	var p ws.Parser
	p.Init(nil, ws.Client, nil)
	r := new(recorder)
	buf := make([]byte, 1000)
	for i := range pings {
		// One at a time, so that none may be dropped.
		nc.Write(masked(fin|ping, fmt.Sprint(i)))
		for want := event(ws.OpPong, fmt.Sprint(i)); !slices.Contains(r.events, want); {
			n, err := nc.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Feed(buf[:n], r); err != nil {
				t.Fatal(err)
			}
		}
		got, r.events = append(got, r.events...), nil
	}
	nc.Write(masked(fin|text, "enough"))
	rest, _ := io.ReadAll(nc)
	if err := p.Feed(rest, r); err != nil {
		t.Fatal(err)
	}
	got = append(got, r.events...)
	var pongs, texts int
	for _, e := range got {
		switch e {
		case event(ws.OpPong, fmt.Sprint(pongs)):
			pongs++
		case event(ws.OpText, "busy"):
			texts++
		default:
			t.Fatalf("unexpected %s", e)
		}
	}
	if pongs != pings || texts != 3*messages {
		t.Errorf("%d pongs and %d messages, want %d and %d", pongs, texts, pings, 3*messages)
	}
}

// A Close frame must hold only the given code and reason, and nothing else from memory
// (CVE-2026-45736 in npm ws).
func TestAttackCloseShowsMemory(t *testing.T) {
	dirty := bytes.Repeat([]byte("secret"), 50)
	for _, reason := range []string{"", "x", strings.Repeat("é", 100)} {
		frame := ws.AppendClose(dirty[:0], ws.Server, 1000, reason)
		if bytes.Contains(frame, []byte("secret")) {
			t.Errorf("frame %q", frame)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		c := ws.NewConn(nc, ws.ConnOptions{})
		go c.ReadMessage(ctx)
		peer.Write(masked(fin|cls, closeBody(4001, "mine")))
		if got, _ := io.ReadAll(peer); !bytes.Equal(got, plain(fin|cls, closeBody(4001, "mine"))) {
			t.Errorf("echo %q", got)
		}
	})
}

// Masking keys must be unpredictable. At the least, they must not repeat, and about half of their
// bits must be set.
func TestAttackPredictableMasks(t *testing.T) {
	const n = 10_000
	seen := map[string]bool{}
	ones := 0
	for range n {
		key := ws.AppendMaskedFrame(nil, ws.OpText, nil)[2:6]
		seen[string(key)] = true
		for _, b := range key {
			ones += bits.OnesCount8(b)
		}
	}
	if len(seen) < n-10 {
		t.Errorf("%d different keys of %d", len(seen), n)
	}
	if ones < 16*n-2000 || ones > 16*n+2000 { // 7 standard deviations
		t.Errorf("%d bits of %d are set", ones, 32*n)
	}
}

// The HTTP server has to refuse thousands of header fields (CVE-2024-37890 in npm ws). Those that it
// lets through must do no harm.
func TestAttackManyHeaders(t *testing.T) {
	r := request(t, handshake)
	for i := range 10_000 {
		r.Header[fmt.Sprint("X-", i)] = []string{"x"}
		r.Header.Add("Connection", "keep-alive")
		r.Header.Add("Sec-Websocket-Protocol", "x")
	}
	if _, err := ws.Accept(r, &ws.AcceptOptions{Subprotocols: []string{"y"}}); err != nil {
		t.Error(err)
	}
}

// Parsing header fields must take linear time (CVE-2021-32640 in npm ws), and must not take many
// times their size in memory.
func TestAttackHeaderBacktracking(t *testing.T) {
	const size = 4 << 20 // quadratic time would be hours
	for _, value := range []string{
		"a" + strings.Repeat(" ", size) + "b", strings.Repeat(",", size), strings.Repeat("a,", size/2),
		"a" + strings.Repeat(";a", size/2), "a;b=\"" + strings.Repeat(`\`, size), strings.Repeat("a ", size/2),
	} {
		for _, name := range []string{"Sec-Websocket-Extensions", "Sec-Websocket-Protocol", "Connection", "Upgrade", "Origin", "Sec-Websocket-Key"} {
			r := request(t, handshake)
			r.Header[name] = append(r.Header[name], value)
			used := allocated(func() { ws.Accept(r, &ws.AcceptOptions{Compression: &ws.Compression{}, Subprotocols: []string{"x"}}) })
			if used > 4*size {
				t.Errorf("%s: %.10q… takes %d bytes", name, value, used)
			}
		}
	}
}

// Bytes sent together with the handshake are WebSocket frames, not another request.
func TestAttackPipelinedBytes(t *testing.T) {
	address := serve(t, nil, echo)
	nc, err := net.Dial("tcp", strings.TrimPrefix(address, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write(join([]byte(handshake+"\r\n"), masked(fin|text, "early"), []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")))
	readHead(nc)
	got, _ := io.ReadAll(nc)
	want := plain(fin|text, "early")
	if !bytes.HasPrefix(got, want) || bytes.Contains(got, []byte("HTTP/1.1")) {
		t.Errorf("got %q", got)
	}
	if len(got) < len(want)+4 || got[len(want)] != fin|cls || got[len(want)+2] != 0x03 || got[len(want)+3] != 0xea {
		t.Errorf("got %q, want Close 1002 at the end", got)
	}
}

// A connection that is reset at any byte of the handshake or the first frames must end only itself.
func TestAttackResetAtEveryByte(t *testing.T) {
	var failed sync.Map
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				failed.Store(p, true)
			}
		}()
		a, err := ws.Accept(r, &ws.AcceptOptions{Compression: &ws.Compression{}})
		if refused := (*ws.HandshakeError)(nil); errors.As(err, &refused) {
			refused.Respond(w)
			return
		}
		if c, err := ws.Upgrade(w, a, nil); err == nil {
			echo(c)
		}
	}))
	defer srv.Close()
	in := join([]byte(handshake+"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
		masked(text, "ab"), masked(fin|ping, "p"), masked(fin|cont, "c"), masked(fin|rsv1|text, "\xf2\x48\xcd\xc9\xc9\x07\x00"))
	for n := range len(in) + 1 {
		nc, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.Write(in[:n])
		nc.(*net.TCPConn).SetLinger(0) // reset, not a normal close
		nc.Close()
	}
	failed.Range(func(p, _ any) bool {
		t.Errorf("panic: %v", p)
		return true
	})
	c, _, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(ws.CloseNormal, ""); err != nil {
		t.Error(err)
	}
}
