//go:build linux

package load

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/bench/bar"
	socketio "github.com/parley-go/parley/client"
	"github.com/parley-go/parley/internal/postgrestest"
)

// connect makes this process one of a cluster.
func connect(address, name string) adapter.Cluster {
	quiet := slog.New(slog.DiscardHandler)
	bus, err := redis.New(rueidis.ClientOption{InitAddress: []string{address}}, &redis.Options{Logger: quiet})
	if err != nil {
		fail(err)
	}
	n, err := adapter.New(bus, &adapter.Options{Name: name, Logger: quiet})
	if err != nil {
		fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Join(ctx); err != nil {
		fail(err)
	}
	return n
}

// cluster starts servers of one cluster on a Redis.
func cluster(t *testing.T, servers int) (all []*child, address string) {
	address = redistest.Start(t).Addr
	for i := range servers {
		all = append(all, start(t, serverConfig{Redis: address, Name: fmt.Sprint("server ", i)}))
	}
	return all, address
}

// roundTrip returns the median time from PUBLISH to its arrival and its answer, both in this process, with
// a pause before each.
func roundTrip(t *testing.T, address string, times int, pause time.Duration, text string) time.Duration {
	t.Helper()
	open := func() rueidis.Client {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	from, to := open(), open()
	dedicated, release := to.Dedicate()
	defer release()
	arrived := make(chan struct{}, 1)
	dedicated.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(rueidis.PubSubMessage) { arrived <- struct{}{} }})
	if err := dedicated.Do(t.Context(), to.B().Subscribe().Channel("bare").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	took := make([]time.Duration, times)
	for i := range took {
		time.Sleep(pause) // a processor that has slept is slower
		at := time.Now()
		if err := from.Do(t.Context(), from.B().Publish().Channel("bare").Message(text).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		<-arrived
		took[i] = time.Since(at)
	}
	return middle(took)
}

// What a cluster costs: a delivery of an event from another server, its way, the first join of a room,
// and connections that do nothing.
func TestClusterCosts(t *testing.T) {
	rounds := rounds(9)
	servers, address := cluster(t, 2)
	sender, receiver := servers[0], servers[1]
	text := prose(300)

	t.Run("delivery", func(t *testing.T) {
		const members = 1000
		times := max(1, size(5_000, 400_000)/members)
		c := newCrowd(t, receiver)
		c.join(c.grow(members), func(int) []string { return []string{"large-0"} })
		cost := func(from *child) time.Duration {
			return receiver.cost(func() {
				for range times { // one after the other, as the senders of a conversation do
					c.want(members, func() { from.emit("emit", "large", map[string]int{"rooms": 1, "size": len(text)}) })
				}
			}) / time.Duration(times*members)
		}
		var near, far []time.Duration
		for range rounds {
			near, far = append(near, cost(receiver)), append(far, cost(sender))
		}
		hold(t, bar.Bar{Name: "delivery to 1,000 members of an event from another server", Value: micros(middle(far)), Unit: "µs",
			Reference: "of a local one", Base: micros(middle(near)), Most: 1.05})
		c.close()
	})

	t.Run("hop", func(t *testing.T) {
		times := size(50, 300)
		listener := newCrowd(t, receiver)
		listener.sampled = true
		listener.join(listener.grow(1), func(int) []string { return []string{"hop"} })
		delay := func(from *child) func() time.Duration {
			c := newCrowd(t, from)
			cl := c.grow(1)[0]
			return func() time.Duration {
				var took []time.Duration
				for range times {
					took = append(took, listener.sample(1, func() {
						cl.send(fmt.Sprintf(`42["relay","hop",%d,%s]`, time.Now().UnixNano(), strconv.Quote(text)))
					}).values...)
				}
				return middle(took)
			}
		}
		near, far := delay(receiver), delay(sender)
		var added, bare []time.Duration
		for range rounds {
			added = append(added, far()-near())
			bare = append(bare, roundTrip(t, address, times, time.Millisecond, text)) // as between samples
		}
		hold(t, bar.Bar{Name: "what a hop adds to the way of an event, median", Value: micros(middle(added)), Unit: "µs",
			Reference: "bare publish and receive", Base: micros(middle(bare)), Most: 2})
	})

	t.Run("first join", func(t *testing.T) {
		times := size(50, 1000)
		c := newCrowd(t, receiver)
		c.grow(1)
		var first, bare []time.Duration
		for i := range rounds {
			var took time.Duration
			receiver.ask("enter", url.Values{"times": {strconv.Itoa(times)}, "name": {fmt.Sprint("new", i)}}, &took)
			first = append(first, took)
			bare = append(bare, roundTrip(t, address, times, 0, text))
		}
		hold(t, bar.Bar{Name: "first join of a room", Value: micros(middle(first)), Unit: "µs",
			Reference: "bare publish and receive", Base: micros(middle(bare)), Most: 3})
	})
}

// Connections that do nothing cost in a cluster what they cost without one.
func TestIdleInACluster(t *testing.T) {
	n := size(500, 5000)
	servers, _ := cluster(t, 3)
	type idle struct {
		heap float64       // bytes of a connection
		cpu  time.Duration // of a second
	}
	measure := func(server *child) (i idle) {
		before := server.settled()
		c := newCrowd(t, server)
		c.grow(n)
		after := server.settled()
		i.heap = float64(after.Heap-before.Heap) / float64(n)
		if *full {
			const seconds = 20
			i.cpu = server.cost(func() { time.Sleep(seconds * time.Second) }) / seconds
		}
		c.close()
		return i
	}
	alone := measure(start(t, serverConfig{}))
	var all []idle
	for _, server := range servers {
		all = append(all, measure(server))
	}
	slices.SortFunc(all, func(a, b idle) int { return int(a.heap - b.heap) })
	t.Logf("%d connections a server: %.0f bytes each, without a cluster %.0f; CPU of a second %v, without %v",
		n, all[1].heap, alone.heap, all[1].cpu, alone.cpu)
	hold(t, bar.Bar{Name: "heap of a connection in a cluster", Value: all[1].heap, Unit: "bytes", Reference: "without one, and 64",
		Base: alone.heap + 64, Most: 1})
	slices.SortFunc(all, func(a, b idle) int { return int(a.cpu - b.cpu) })
	hold(t, bar.Bar{Name: "CPU of a second of idleness in a cluster", Value: micros(all[1].cpu), Unit: "µs", Reference: "without one, and 0.5 %",
		Base: micros(alone.cpu + 5*time.Millisecond), Most: 1})
}

// A stored message is seen on another server as soon as on its sender's.
func TestStoredInACluster(t *testing.T) {
	times := size(20, 500)
	address, store := redistest.Start(t).Addr, postgrestest.Database(t)
	var rooms []*socketio.Room
	for i := range 2 {
		server := start(t, serverConfig{Chat: t.TempDir(), Redis: address, Store: store, Name: fmt.Sprint("server ", i)})
		c, err := socketio.Dial(t.Context(), "http://"+server.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		room, err := c.Room(t.Context(), "room", &socketio.RoomOptions{UserID: fmt.Sprint("user ", i)})
		if err != nil {
			t.Fatal(err)
		}
		rooms = append(rooms, room)
	}
	for _, room := range rooms { // an empty room says so
		if _, err := room.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var took [2][]time.Duration // until the sender's server, and the other one, have shown the message
	for i := range times {
		sender, at := rooms[i%2], time.Now()
		seen := make(chan error, 2)
		for j, room := range rooms {
			go func() {
				e, err := room.Next(t.Context())
				if err == nil && e.Seq != int64(i+1) {
					err = fmt.Errorf("message %d instead of %d", e.Seq, i+1)
				}
				other := 0
				if j != i%2 {
					other = 1
				}
				took[other] = append(took[other], time.Since(at))
				seen <- err
			}()
		}
		if _, err := sender.Send(t.Context(), "text"); err != nil {
			t.Fatal(err)
		}
		for range rooms {
			if err := <-seen; err != nil {
				t.Fatal(err)
			}
		}
	}
	hold(t, bar.Bar{Name: "a stored message is seen on another server, median", Value: micros(middle(took[1])), Unit: "µs",
		Reference: "on the sender's", Base: micros(middle(took[0])), Most: 1.2})
}
