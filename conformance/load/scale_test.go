//go:build linux

package load

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

const (
	messageSize = 100 // bytes of text
	maxSpread   = 2   // of the cost of a delivery; measured were 1.1 to 1.4
	maxRoom     = 400 // bytes of heap, with two members; measured were 190
	// maxGoroutines is for any number of idle connections; workers that wait for inboxes
	// are most of them.
	maxGoroutines = 100
)

// TestDeliveryCostsTheSame sends the same number of deliveries to many small rooms and to
// few large ones, with few and with many connections.
func TestDeliveryCostsTheSame(t *testing.T) {
	const rounds = 7
	n := size(5000, 15_000) / 1000 * 1000
	server := start(t, serverConfig{})
	c := newCrowd(t, server)
	few := c.grow(min(1000, n/5))
	c.join(few, func(i int) []string { return []string{"few-0"} })

	// measure returns the median of the server's time for each of what n events cost.
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
	if float64(most) > maxSpread*float64(least) {
		t.Errorf("a delivery costs from %v to %v: %v", least, most, costs)
	}
}

// Rooms are cheap: a hundred thousand with two members each.
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
	var took [5]time.Duration
	for i := range took {
		took[i] = server.cost(func() {
			c.want(members*rooms/10, func() {
				server.emit("emit", "pair", map[string]int{"rooms": rooms / 10, "size": messageSize})
			})
		}) / time.Duration(members*rooms/10)
	}
	slices.Sort(took[:])
	t.Logf("%v a delivery", took[len(took)/2])
}

// 15,000 idle connections with a heartbeat every 25 s take at most 2 % of a core.
func TestHeartbeats(t *testing.T) {
	n, every, during := size(3000, 15_000), time.Second, 2*time.Second
	if *full {
		every, during = 25*time.Second, 30*time.Second
	}
	server := start(t, serverConfig{PingInterval: every})
	c := newCrowd(t, server)
	c.grow(n)
	idle := server.settled()
	pings := c.pings.Load()
	cost := server.cost(func() { time.Sleep(during) })
	pings = c.pings.Load() - pings
	per := cost / time.Duration(pings)
	percent := 100 * per.Seconds() * 15_000 / 25
	t.Logf("%d connections, %.1f MB: %d pings in %v took %v: %v each, %.2f %% of a core for 15,000 every 25 s",
		n, float64(idle.RSS)/1e6, pings, during, cost, per, percent)
	if int(pings) < n {
		t.Errorf("%d pings in %v to %d clients", pings, during, n)
	}
	if percent > 2 && !raceEnabled {
		t.Errorf("%.2f %% of a core, want at most 2", percent)
	}
	if idle.Goroutines > maxGoroutines {
		t.Errorf("%d goroutines for %d idle connections", idle.Goroutines, n)
	}
}

// All clients lose their connections at the same moment and dial again at once.
func TestAllReconnect(t *testing.T) {
	n := size(4000, 15_000)
	server := start(t, serverConfig{})
	c := newCrowd(t, server)
	began := time.Now()
	c.grow(n)
	first := time.Since(began)
	for range 2 {
		c.close()
		began := time.Now()
		cost := server.cost(func() { c.grow(n) })
		again := time.Since(began)
		t.Logf("%d clients: connected in %v, reconnected in %v, %v of the server's time each", n, first, again, cost/time.Duration(n))
		if again > 3*first+2*time.Second {
			t.Errorf("to connect again took %v, the first time %v", again, first)
		}
	}
	eventually(t, "the server to have forgotten the old connections", 10*time.Second, func() bool {
		s := server.usage().Sockets
		return s.Sockets == n && s.Sessions == n && s.Disconnected["transport close"] == 2*uint64(n)
	})
}
