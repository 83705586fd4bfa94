//go:build linux

package load

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/bench/bar"
)

const (
	messageSize = 100 // bytes of text
	maxRoom     = 400 // bytes of heap of a room with two members; the measured value is 190
	// Multiples of a bare round trip, in which one process sends and receives twice. The measured
	// values are 0.5 to 0.76 and 0.8 to 1.1. They are higher if the machine has much other work.
	maxDelivery  = 1
	maxHeartbeat = 1.5
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

	// cost returns the server's time for one delivery. It measures at least n deliveries.
	cost := func(name string, rooms, members int) time.Duration {
		times := max(1, n/(rooms*members))
		return server.cost(func() {
			for range times {
				c.want(rooms*members, func() {
					server.emit("emit", name, map[string]int{"rooms": rooms, "size": messageSize})
				})
			}
		}) / time.Duration(times*rooms*members)
	}
	alone := median(rounds, func() time.Duration { return cost("few", 1, len(few)) })
	all := append(few, c.grow(n-len(few))...)
	sizes := []int{10, 100, 1000, n}
	c.join(all, func(i int) (rooms []string) {
		for _, s := range sizes {
			rooms = append(rooms, fmt.Sprintf("of%d-%d", s, i/s))
		}
		return rooms
	})
	// Measure the figures to compare in turns, because a busy machine changes from one second to the next.
	took := map[int][]time.Duration{}
	var beside, bare []time.Duration
	for range rounds {
		for _, s := range sizes {
			took[s] = append(took[s], cost(fmt.Sprint("of", s), n/s, s))
		}
		beside = append(beside, cost("few", 1, len(few)))
		bare = append(bare, server.bare(messageSize))
	}
	t.Logf("%d connections in one room: %v a delivery; %d connections: %v", len(few), alone, n, middle(beside))
	reference := middle(took[n])
	for _, s := range sizes {
		each := middle(took[s])
		t.Logf("%d connections, %d rooms of %d: %v a delivery", n, n/s, s, each)
		if s < n {
			hold(t, bar.Bar{Name: fmt.Sprint("delivery, rooms of ", s), Value: micros(each), Unit: "µs", Reference: "one room of all", Base: micros(reference), Most: 1.4})
		}
	}
	hold(t, bar.Bar{Name: fmt.Sprint("delivery, ", n, " connections"), Value: micros(middle(beside)), Unit: "µs", Reference: "without the others", Base: micros(alone), Most: 1.8})
	hold(t, bar.Bar{Name: "delivery, one room of all", Value: micros(reference), Unit: "µs", Reference: "bare round trip", Base: micros(middle(bare)), Most: maxDelivery})
}

// middle sorts the durations and returns the median.
func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func median(rounds int, measure func() time.Duration) time.Duration {
	all := make([]time.Duration, rounds)
	for i := range all {
		all[i] = measure()
	}
	return middle(all)
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
	cost := median(rounds(5), func() time.Duration {
		return server.cost(func() {
			c.want(members*rooms/10, func() {
				server.emit("emit", "pair", map[string]int{"rooms": rooms / 10, "size": messageSize})
			})
		}) / time.Duration(members*rooms/10)
	})
	t.Logf("%v a delivery", cost)
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
