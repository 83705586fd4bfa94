package parley_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/ws"
)

// raw is a connection that has joined the main namespace. It has no parser, so that a benchmark
// measures only the server.
type raw struct {
	net.Conn
	tb testing.TB
}

func dialRaw(tb testing.TB, address string) raw {
	tb.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	r := raw{nc, tb}
	tb.Cleanup(func() { nc.Close() })
	r.exchange([]byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), `"maxPayload":1000000}`)
	r.exchange(frame("40"), `"}`)
	return r
}

// frame returns text messages as client frames.
func frame(messages ...string) (b []byte) {
	for _, m := range messages {
		b = ws.AppendMaskedFrame(b, ws.OpText, []byte(m))
	}
	return b
}

// exchange sends request and reads up to and including until.
func (r raw) exchange(request []byte, until string) {
	r.tb.Helper()
	r.write(request)
	var got []byte
	b := make([]byte, 1)
	for !strings.HasSuffix(string(got), until) {
		r.read(b)
		got = append(got, b...)
	}
}

func (r raw) write(b []byte) {
	if _, err := r.Write(b); err != nil {
		r.tb.Fatal(err)
	}
}

// read fills b.
func (r raw) read(b []byte) {
	if _, err := io.ReadFull(r.Conn, b); err != nil { // passing r itself would allocate
		r.tb.Fatal(err)
	}
}

const (
	benchEcho = parley.Event[json.RawMessage]("echo")
	benchAck  = parley.RPC[json.RawMessage, json.RawMessage]("ack")
)

// serveRaw serves echoes, acknowledgements, "untyped" (answered with the fixed event "done") and
// "all" (sent to all clients).
func serveRaw(tb testing.TB) (address string) {
	tb.Helper()
	srv, err := parley.New(&parley.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	parley.On(srv, benchEcho, func(_ context.Context, s *parley.Socket, v json.RawMessage) error { return benchEcho.Emit(s, v) })
	parley.Handle(srv, benchAck, func(_ context.Context, _ *parley.Socket, v json.RawMessage) (json.RawMessage, error) { return v, nil })
	done, err := srv.Encode("done")
	if err != nil {
		tb.Fatal(err)
	}
	srv.On("untyped", func(p *parley.Packet) error { return p.Socket().Send(done) })
	srv.On("all", func(*parley.Packet) error { return srv.Emit("done") })
	web := httptest.NewServer(srv)
	tb.Cleanup(func() {
		srv.Close()
		web.Close()
	})
	return web.Listener.Addr().String()
}

var payload = `"` + strings.Repeat("x", 64) + `"`

// scenarios lists requests on one connection, with the expected answers.
var scenarios = []struct {
	name            string
	request, answer string
	allocations     float64 // upper limit, one above the measured value
}{
	{"untyped", `42["untyped",` + payload + `]`, `42["done"]`, 3},
	{"echo", `42["echo",` + payload + `]`, `42["echo",` + payload + `]`, 8},
	{"ack", `421["ack",` + payload + `]`, `431[` + payload + `]`, 8},
}

func TestEventAllocations(t *testing.T) {
	for _, s := range scenarios {
		c := dialRaw(t, serveRaw(t))
		request, answer := frame(s.request), make([]byte, len(s.answer)+2)
		exchange := func() { c.write(request); c.read(answer) }
		for range 100 {
			exchange()
		}
		if n := testing.AllocsPerRun(1000, exchange); n > s.allocations {
			t.Errorf("%s: %v allocations, want at most %v", s.name, n, s.allocations)
		}
	}
}

// everybody connects n clients. broadcast makes the first one request one broadcast to all of them.
func everybody(tb testing.TB, n int) (broadcast func()) {
	tb.Helper()
	address := serveRaw(tb)
	all := make([]raw, n)
	for i := range all {
		all[i] = dialRaw(tb, address)
	}
	request, answer := frame(`42["all"]`), make([]byte, len(`42["done"]`)+2)
	return func() {
		all[0].write(request)
		for _, c := range all {
			c.read(answer)
		}
	}
}

// The number of allocations of a broadcast must not depend on the number of receivers.
func TestBroadcastAllocations(t *testing.T) {
	var allocations [2]float64
	for i, n := range []int{1, 100} {
		broadcast := everybody(t, n)
		for range 20 {
			broadcast()
		}
		allocations[i] = testing.AllocsPerRun(200, broadcast)
	}
	t.Logf("allocations of a broadcast: to one %v, to 100 %v", allocations[0], allocations[1])
	if most := allocations[0] + 5; allocations[1] > most {
		t.Errorf("a broadcast to 100 takes %v allocations, want at most %v", allocations[1], most)
	}
}

func BenchmarkBroadcast(b *testing.B) {
	const members = 100
	broadcast := everybody(b, members)
	b.ReportAllocs()
	for b.Loop() {
		broadcast()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
}

func BenchmarkEvent(b *testing.B) {
	for _, s := range scenarios {
		for name, inFlight := range map[string]int{"": 1, "-pipelined": 16} {
			b.Run(s.name+name, func(b *testing.B) {
				c := dialRaw(b, serveRaw(b))
				var request []byte
				for range inFlight {
					request = append(request, frame(s.request)...)
				}
				answer := make([]byte, inFlight*(len(s.answer)+2))
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += inFlight {
					c.write(request)
					c.read(answer)
				}
			})
		}
	}
}
