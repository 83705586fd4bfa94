//go:build linux

package load

import (
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/internal/ws"
)

const maxCompression = 500 // extra bytes of heap for a connection that may compress; the measured value is 0

// The server compresses a broadcast once, for any number of receivers.
func TestBroadcastIsCompressedOnce(t *testing.T) {
	const textSize = 2000
	rounds := rounds(5)
	n := size(1000, 5000)
	measure := func(compression *parley.Compression) (cost time.Duration, bytes int64) {
		server := start(t, serverConfig{Compression: compression})
		c := newCrowd(t, server)
		c.compress = compression != nil
		c.join(c.grow(n), func(int) []string { return []string{"room-0"} })
		before := c.bytes.Load()
		var costs []time.Duration
		for range rounds {
			costs = append(costs, server.cost(func() {
				for range 5 {
					c.want(n, func() { server.emit("emit", "room", map[string]int{"rooms": 1, "size": textSize}) })
				}
			})/time.Duration(5*n))
		}
		slices.Sort(costs)
		return costs[rounds/2], (c.bytes.Load() - before) / int64(rounds*5*n)
	}
	plain, plainBytes := measure(nil)
	compressed, compressedBytes := measure(&parley.Compression{})
	t.Logf("%d clients: %v and %d bytes a delivery, compressed %v and %d", n, plain, plainBytes, compressed, compressedBytes)
	// If the server compressed it for each receiver, it would cost three times as much.
	hold(t, bar.Bar{Name: "delivery, compressed", Value: micros(compressed), Unit: "µs", Reference: "plain", Base: micros(plain), Most: 1.4})
	if compressedBytes > plainBytes*2/3 {
		t.Errorf("a delivery has %d bytes, without compression %d", compressedBytes, plainBytes)
	}
}

// Idle connections that may compress cost no more than others. They keep a client's context only
// if Compression.ClientContext is set.
func TestMemoryOfCompression(t *testing.T) {
	n := size(200, 1000)
	idle := func(compression *parley.Compression) (*child, *crowd, []*client, int) {
		server := start(t, serverConfig{Compression: compression})
		c := newCrowd(t, server)
		c.compress = compression != nil
		c.grow(20) // allocates what all connections share
		before := server.settled().Heap
		all := c.grow(n)
		return server, c, all, (server.settled().Heap - before) / n
	}
	_, _, _, plain := idle(nil)
	for _, context := range []bool{false, true} {
		server, c, all, opened := idle(&parley.Compression{ClientContext: context})
		before := server.settled().Heap
		discard := `420["discard","` + prose(50_000) + `"]`
		for _, cl := range all {
			d := ws.NewDeflater(ws.Client, &ws.DeflateParams{ClientNoContextTakeover: !context, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15})
			acks := c.acks.Load()
			for range 2 {
				cl.sendDeflated(d, discard)
			}
			eventually(t, "the messages to be acknowledged", func() bool { return c.acks.Load() == acks+2 })
		}
		kept := (server.settled().Heap - before) / n
		t.Logf("client context %v: %d bytes of heap an idle connection (%d without compression), and %d of what it has sent", context, opened, plain, kept)
		if opened > plain+maxCompression {
			t.Errorf("%d bytes of heap an idle connection, without compression %d", opened, plain)
		}
		limit := maxCompression
		if context {
			limit += 32<<10 + 8<<10 // the window, and the spare capacity of a grown slice
		}
		if kept > limit {
			t.Errorf("client context %v: %d bytes of what a client has sent are kept, want at most %d", context, kept, limit)
		}
	}
}
