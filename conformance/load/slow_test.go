//go:build linux

package load

import (
	"testing"
	"time"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/internal/reactor"
)

const (
	outbox  = 1 << 20            // the default of parley.Options.MaxOutbox
	pending = reactor.BufferSize // bytes written that the kernel has not taken
)

// A tenth of a room's clients stop reading while messages flow. The others get every message. The
// server disconnects and counts those that do not read.
func TestStalledClients(t *testing.T) {
	n, writeTimeout := size(500, 10_000), 5*time.Second
	flow := map[string]int{"size": 4000, "every": 40_000, "times": 100} // 4 s
	if *full {
		writeTimeout = 10 * time.Second
		flow = map[string]int{"size": 4000, "every": 200_000, "times": 120} // 24 s
	}
	server := start(t, serverConfig{WriteTimeout: writeTimeout})
	c := newCrowd(t, server)
	c.sampled = true
	reading := c.grow(n - n/10)
	c.window, c.sampled = 16<<10, false
	stalled := c.grow(n / 10)
	c.join(append(reading, stalled...), func(int) []string { return []string{"room"} })
	deliveries := len(reading) * flow["times"]

	without := c.sample(deliveries, func() { server.emit("flow", "room", flow) })

	idle := server.settled()
	if idle.Sockets.Sockets != n {
		t.Fatalf("%d sockets while all read, want %d", idle.Sockets.Sockets, n)
	}
	for _, cl := range stalled {
		cl.conn.Pause()
	}
	began := time.Now()
	peak := 0
	with := c.sample(deliveries, func() {
		flowed := make(chan struct{})
		go func() {
			server.emit("flow", "room", flow)
			close(flowed)
		}()
		for done := false; !done; {
			select {
			case <-flowed:
				done = true
			case <-time.After(100 * time.Millisecond):
			}
			peak = max(peak, server.usage().RSS)
		}
	})
	eventually(t, "the stalled clients to be ended", func() bool { return server.usage().Sockets.Sockets == len(reading) })
	gone := time.Since(began)

	before := [...]time.Duration{without.quantile(0.5), without.quantile(0.99), without.quantile(1)}
	after := [...]time.Duration{with.quantile(0.5), with.quantile(0.99), with.quantile(1)}
	t.Logf("%d clients, p50, p99 and slowest delivery: all reading %v, %d stalled %v", n, before, len(stalled), after)
	t.Logf("memory %.0f MB, at most %.0f MB; all stalled gone %v after the flow began", float64(idle.RSS)/1e6, float64(peak)/1e6, gone)
	hold(t, bar.Bar{Name: "p99 beside stalled clients", Value: after[1].Seconds() * 1e3, Unit: "ms", Reference: "all reading", Base: before[1].Seconds() * 1e3, Most: 2})
	if growth := peak - idle.RSS; growth > len(stalled)*(outbox+pending) {
		t.Errorf("memory grew by %d bytes, more than %d for each stalled client", growth, outbox+pending)
	}
	end := server.usage().Sockets
	if end.SlowConsumers != uint64(len(stalled)) || end.Disconnected["transport error"] != end.SlowConsumers {
		t.Errorf("%d slow consumers and %d transport errors, want %d", end.SlowConsumers, end.Disconnected["transport error"], len(stalled))
	}
}

// The memory for clients that do not read stays within the bound, even with small messages. The
// server releases it when it disconnects them.
func TestMemoryOfStalledClients(t *testing.T) {
	n := size(100, 1000)
	for _, text := range []int{20, 200, 4000} {
		server := start(t, serverConfig{WriteTimeout: time.Minute})
		c := newCrowd(t, server)
		c.window = 4 << 10
		all := c.grow(n)
		idle := server.settled()
		for _, cl := range all {
			cl.conn.Pause()
		}
		// A message has about 30 bytes of header and time, and the server counts 200 more for it. The
		// kernel takes a part of the messages, so this stays just below the limit.
		flow := map[string]int{"size": text, "times": outbox / (text + 30 + 200)}
		server.emit("each", "", flow)
		u := server.settled()
		heap := (u.Heap - idle.Heap) / n
		t.Logf("%d messages of %d bytes for each of %d: %d bytes of heap a client", flow["times"], text, n, heap)
		if heap > outbox+pending {
			t.Errorf("%d bytes of heap a client, want at most %d", heap, outbox+pending)
		}
		if u.Sockets.SlowConsumers > 0 {
			t.Errorf("%d clients were ended before their outbox was full", u.Sockets.SlowConsumers)
		}
		for range 4 { // beyond four times the limit, the server disconnects a client at once
			server.emit("each", "", flow)
		}
		eventually(t, "the memory of the clients to be given back", func() bool {
			u = server.settled()
			return (u.Heap-idle.Heap)/n < outbox/50
		})
		if u.Sockets.SlowConsumers != uint64(n) || u.Sockets.Disconnected["transport error"] != uint64(n) {
			t.Errorf("%d slow consumers and %d transport errors, want %d", u.Sockets.SlowConsumers, u.Sockets.Disconnected["transport error"], n)
		}
	}
}
