//go:build linux

package load

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/bench/bar"
)

const (
	messageSize = 100 // bytes of text
	maxRoom     = 400 // bytes of heap of a room with two members; the measured value is 190
	// Multiples of a bare round trip, in which one process sends and receives twice. The measured
	// values are 0.5 to 0.65 and 0.8 to 1.1.
	maxDelivery  = 0.8
	maxHeartbeat = 1.3
	// maxGoroutines is the limit for any number of idle connections. Most of them are workers that
	// wait for inboxes.
	maxGoroutines = 100
)

// TestDeliveryCostsTheSame sends the same number of deliveries to many small rooms and to
// few large ones, with few and with many connections.
func TestDeliveryCostsTheSame(t *testing.T) {
	rounds := rounds(7)
	n := size(5000, 15_000) / 1000 * 1000
	server := start(t, serverConfig{})
	c := newCrowd(t, server)
	few := c.grow(min(1000, n/5))
	c.join(few, func(i int) []string { return []string{"few-0"} })

	// measure returns the server's time for one delivery: the median of the rounds.
	measure := func(name string, rooms, members int) time.Duration {
		var took []time.Duration
		times := max(1, n/(rooms*members))
		for range rounds {
			took = append(took, server.cost(func() {
				for range times {
					c.want(rooms*members, func() {
						server.emit("emit", name, map[string]int{"rooms": rooms, "size": messageSize})
					})
				}
			})/time.Duration(times*rooms*members))
		}
		slices.Sort(took)
		return took[rounds/2]
	}

	costs := map[string]time.Duration{}
	report := func(name string, rooms, members, connections int) {
		cost := measure(name, rooms, members)
		t.Logf("%6d connections, %6d rooms of %5d: %v a delivery", connections, rooms, members, cost)
		costs[fmt.Sprintf("%d rooms of %d, %d connections", rooms, members, connections)] = cost
	}
	report("few", 1, len(few), len(few))
	all := append(few, c.grow(n-len(few))...)
	sizes := []int{10, 100, 1000, n}
	c.join(all, func(i int) (rooms []string) {
		for _, s := range sizes {
			rooms = append(rooms, fmt.Sprintf("of%d-%d", s, i/s))
		}
		return rooms
	})
	report("few", 1, len(few), n)
	for _, s := range sizes {
		report(fmt.Sprint("of", s), n/s, s, n)
	}
	least, most := time.Duration(math.MaxInt64), time.Duration(0)
	for _, cost := range costs {
		least, most = min(least, cost), max(most, cost)
	}
	// The measured values are 1.4 to 1.7.
	hold(t, bar.Bar{Name: "delivery, most costly", Value: micros(most), Unit: "µs", Reference: "least costly", Base: micros(least), Most: 2})
	hold(t, bar.Bar{Name: "delivery, most costly", Value: micros(most), Unit: "µs", Reference: "bare round trip", Base: micros(server.bare(messageSize)), Most: maxDelivery})
}

// Rooms are cheap: this makes a hundred thousand with two members each.
func TestManyRooms(t *testing.T) {
	const each, members = 40, 2
	n := size(5000, 5000) / members * members
	server := start(t, serverConfig{})
	c := newCrowd(t, server)
	all := c.grow(n)
	before := server.settled()
	c.join(all, func(i int) (rooms []string) {
		for k := range each {
			rooms = append(rooms, fmt.Sprintf("pair-%d", i/members*each+k))
		}
		return rooms
	})
	rooms := n / members * each
	after := server.settled()
	if after.Sockets.Rooms != rooms {
		t.Fatalf("%d rooms, want %d", after.Sockets.Rooms, rooms)
	}
	per := (after.Heap - before.Heap) / rooms
	t.Logf("%d rooms: %d bytes of heap each", rooms, per)
	if per > maxRoom {
		t.Errorf("%d bytes a room, want at most %d", per, maxRoom)
	}
	took := make([]time.Duration, rounds(5))
	for i := range took {
		took[i] = server.cost(func() {
			c.want(members*rooms/10, func() {
				server.emit("emit", "pair", map[string]int{"rooms": rooms / 10, "size": messageSize})
			})
		}) / time.Duration(members*rooms/10)
	}
	slices.Sort(took)
	t.Logf("%v a delivery", took[len(took)/2])
}

// The heartbeat keeps every connection. It costs little more than the kernel takes for its two messages.
func TestHeartbeats(t *testing.T) {
	n, every := size(3000, 15_000), time.Second
	if *full {
		every = 25 * time.Second
	}
	server := start(t, serverConfig{PingInterval: every})
	c := newCrowd(t, server)
	c.grow(n)
	var idle usage
	eventually(t, fmt.Sprintf("the goroutines that %d handshakes had to end", n), func() bool {
		idle = server.settled()
		return idle.Goroutines <= maxGoroutines
	})
	before := c.pings.Load()
	cost := server.cost(func() {
		eventually(t, "two pings for each client", func() bool { return c.pings.Load() >= before+2*int64(n) })
	})
	pings := c.pings.Load() - before
	per := cost / time.Duration(pings)
	t.Logf("%d connections, %.1f MB: %d pings took %v: %v each, %.2f %% of a core for 15,000 every 25 s",
		n, float64(idle.RSS)/1e6, pings, cost, per, 100*per.Seconds()*15_000/25)
	hold(t, bar.Bar{Name: "ping and pong", Value: micros(per), Unit: "µs", Reference: "bare round trip", Base: micros(server.bare(3)), Most: maxHeartbeat})
	if s := server.usage().Sockets; s.Sockets != n || c.gone.Load() != 0 {
		t.Errorf("%d sockets, and %d clients lost their connection; want %d and none", s.Sockets, c.gone.Load(), n)
	}
}

// All clients lose their connections at the same moment and dial again at once.
func TestAllReconnect(t *testing.T) {
	n := size(4000, 15_000)
	server := start(t, serverConfig{})
	c := newCrowd(t, server)
	connect := func() (took, cost time.Duration) {
		began := time.Now()
		cost = server.cost(func() { c.grow(n) })
		return time.Since(began), cost / time.Duration(n)
	}
	first, firstCost := connect()
	t.Logf("%d clients: connected in %v, %v of the server's time each", n, first, firstCost)
	for range 2 {
		c.close()
		again, cost := connect()
		t.Logf("%d clients: connected again in %v, %v of the server's time each", n, again, cost)
		// Meanwhile the server ends the old connections.
		hold(t, bar.Bar{Name: "to connect again, CPU", Value: micros(cost), Unit: "µs", Reference: "first time", Base: micros(firstCost), Most: 2})
		hold(t, bar.Bar{Name: "all connect again, time", Value: again.Seconds(), Unit: "s", Reference: "first time", Base: first.Seconds(), Most: 2.5})
	}
	eventually(t, "the server to have forgotten the old connections", func() bool {
		s := server.usage().Sockets
		return s.Sockets == n && s.Sessions == n && s.Disconnected["transport close"] == 2*uint64(n)
	})
}
