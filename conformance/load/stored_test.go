//go:build linux

package load

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/app"
)

// serveChat runs the server process with the binary's application. To compare, the tests can also
// measure a separate store in it.
func serveChat(sc serverConfig) {
	data := sc.Chat
	c := app.Defaults()
	c.Data, c.EventsPerSecond, c.BytesPerSecond = filepath.Join(data, "chat"), 0, 0
	if sc.Redis != "" {
		c.Data, c.StateDir, c.Cluster, c.ClusterName = sc.Store, data, "redis://"+sc.Redis, sc.Name
	}
	server, err := app.Open(c, slog.New(slog.DiscardHandler))
	if err != nil {
		fail(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	controls, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go http.Serve(controls, control(func(function string, arguments url.Values) (any, error) {
		switch function {
		case "usage":
			return measure(), nil
		case "store":
			senders, _ := strconv.Atoi(arguments.Get("senders"))
			during, _ := time.ParseDuration(arguments.Get("during"))
			return storeRate(filepath.Join(data, arguments.Get("name")), senders, during)
		}
		return nil, fmt.Errorf("there is no %q", function)
	}))
	go func() {
		os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	fmt.Println(l.Addr(), controls.Addr())
	if err := server.Serve(ctx, &app.Ports{Main: l}); err != nil {
		fail(err)
	}
}

// storeRate returns how many messages a second a store commits. Each of the senders waits for one
// message before it sends the next.
func storeRate(path string, senders int, during time.Duration) (float64, error) {
	store, err := sqlite.Open(path, nil)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	batcher := history.NewBatcher(store, history.BatchLimits{}, nil)
	defer batcher.Close()
	var n, failed atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for sender := range senders {
		wg.Go(func() {
			for time.Since(began) < during {
				_, err := batcher.Append(context.Background(), history.Draft{
					RoomID: chatRoom(sender), UserID: fmt.Sprint("user-", sender), ClientID: clientID(), Message: []byte(text),
				})
				if err != nil {
					failed.Add(1)
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		return 0, fmt.Errorf("%d appends failed", failed.Load())
	}
	return float64(n.Load()) / time.Since(began).Seconds(), nil
}

const (
	chatRooms = 200
	text      = `{"text":"the parcel has not arrived and the page says that it was handed over on monday could you have a look please"}`
)

func chatRoom(sender int) string { return fmt.Sprint("room-", sender%chatRooms) }

// clientID returns an id like a UUIDv7: the front ascends, the rest is random.
func clientID() string {
	return fmt.Sprintf("%012x-7%015x", time.Now().UnixMicro(), rand.Uint64()>>4)
}

// chatters are clients of the chat, each in one of chatRooms rooms.
type chatters struct {
	*crowd
	t       *testing.T
	all     []*client
	going   atomic.Bool  // while true, a client sends again after each acknowledgement
	rested  atomic.Int64 // acknowledgements that came while going was false
	refused atomic.Int64
}

// chat connects n clients and joins their rooms.
func chat(t *testing.T, server *child, n int) *chatters {
	c := &chatters{crowd: newCrowd(t, server), t: t}
	c.receive = func(cl *client, packet []byte) {
		if !bytes.HasPrefix(packet, []byte("43")) {
			return
		}
		if bytes.HasPrefix(packet[3:], []byte(`[{"error"`)) {
			c.refused.Add(1)
		}
		if c.going.Load() {
			cl.again()
		} else {
			c.rested.Add(1)
		}
	}
	c.all = c.grow(n)
	c.ask(func(cl *client) string {
		return fmt.Sprintf(`420["joinRoom",{"roomId":"%s","userId":"user-%d"}]`, chatRoom(cl.number), cl.number)
	})
	return c
}

// ask sends a request from each client and waits until all have an answer.
func (c *chatters) ask(request func(*client) string) {
	c.t.Helper()
	before := c.acks.Load()
	for _, cl := range c.all {
		cl.send(request(cl))
	}
	eventually(c.t, "all to be answered", func() bool { return c.acks.Load() == before+int64(len(c.all)) })
}

// busy runs f while each client repeats a request after each answer. It returns the number of
// answers during f.
func (c *chatters) busy(request func(*client) string, f func()) (answers int64) {
	c.t.Helper()
	for _, cl := range c.all {
		cl.again = func() { cl.send(request(cl)) }
	}
	c.rested.Store(0)
	c.going.Store(true)
	before := c.acks.Load()
	for _, cl := range c.all {
		cl.again()
	}
	f()
	answers = c.acks.Load() - before
	c.going.Store(false)
	eventually(c.t, "the last requests to be answered", func() bool { return c.rested.Load() == int64(len(c.all)) })
	return answers
}

func sendMessage(cl *client) string {
	return fmt.Sprintf(`421["sendMessage",{"roomId":"%s","clientId":"%s","message":%s}]`, chatRoom(cl.number), clientID(), text)
}

func typing(cl *client) string {
	return fmt.Sprintf(`422["typing",{"roomId":"%s"}]`, chatRoom(cl.number))
}

// Compares two ways to store messages. In one, clients send them over Socket.IO, and the server stores,
// broadcasts and acknowledges them. In the other, senders give them directly to the store.
func TestStoredMessages(t *testing.T) {
	rounds, during := rounds(5), 200*time.Millisecond
	if *full {
		during = 2 * time.Second
	}
	for senders, bars := range map[int]struct{ cost, rate float64 }{64: {3, 0.4}, 1024: {5, 0.2}} {
		server := start(t, serverConfig{Chat: t.TempDir()})
		c := chat(t, server, senders)
		var rates, costs []float64 // multiples of the store's
		for round := range rounds {
			var alone float64 // messages a second
			storeCPU := server.cost(func() {
				server.ask("store", url.Values{"name": {fmt.Sprint(round)}, "senders": {fmt.Sprint(senders)}, "during": {during.String()}}, &alone)
			})
			storeCost := storeCPU.Seconds() / (alone * during.Seconds())
			began, own := time.Now(), measure().CPU
			var took, cpu time.Duration
			n := c.busy(sendMessage, func() {
				cpu = server.cost(func() { time.Sleep(during) })
				took = time.Since(began)
			})
			own = measure().CPU - own
			rate, cost := float64(n)/took.Seconds(), cpu.Seconds()/float64(n)
			t.Logf("%d senders: %.0f messages a second, %.1f µs of the server's time each and %.1f of the clients'; store alone %.0f, %.1f µs",
				senders, rate, cost*1e6, own.Seconds()*1e6/float64(n), alone, storeCost*1e6)
			rates, costs = append(rates, rate/alone), append(costs, cost/storeCost)
		}
		slices.Sort(rates)
		slices.Sort(costs)
		rate, cost := rates[rounds/2], costs[rounds/2]
		hold(t, bar.Bar{Name: fmt.Sprint("stored messages of ", senders, " senders, CPU of each"), Value: cost, Reference: "store alone", Base: 1, Most: bars.cost})
		hold(t, bar.Bar{Name: fmt.Sprint("stored messages of ", senders, " senders, rate"), Value: rate, Reference: "store alone", Base: 1, Least: bars.rate})
		if c.refused.Load() > 0 {
			t.Errorf("%d messages were refused", c.refused.Load())
		}
	}
}

// Joining a room returns its last 50 messages. The cost does not depend on how many are stored.
func TestRoomsOpenFast(t *testing.T) {
	few := openRooms(t, 50*chatRooms)
	if *full {
		many := openRooms(t, 10_000_000)
		hold(t, bar.Bar{Name: "a room opens, 10,000,000 messages stored", Value: micros(many), Unit: "µs", Reference: "10,000", Base: micros(few), Most: 2})
	}
}

// openRooms returns the median time to open a room. It fails the test if a room does not return 50 messages.
func openRooms(t *testing.T, messages int) time.Duration {
	t.Helper()
	dir := t.TempDir()
	store, err := sqlite.Open(filepath.Join(dir, "chat", "parley.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < messages; {
		drafts := make([]history.Draft, 2000)
		for k := range drafts {
			drafts[k] = history.Draft{RoomID: chatRoom(i), UserID: "ann", ClientID: clientID(), Message: []byte(text)}
			i++
		}
		if _, err := store.Append(t.Context(), drafts); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	server := start(t, serverConfig{Chat: dir})
	c := newCrowd(t, server)
	answered := make(chan int) // the size of an answer in bytes
	c.receive = func(_ *client, packet []byte) {
		if bytes.HasPrefix(packet, []byte("43")) {
			answered <- len(packet)
		}
	}
	cl := c.grow(1)[0]
	var took []time.Duration
	for i := range 2 * chatRooms {
		began := time.Now()
		cl.send(fmt.Sprintf(`420["joinRoom",{"roomId":"%s","userId":"ann"}]`, chatRoom(i)))
		if n := <-answered; n < 50*len(text) {
			t.Fatalf("an answer of %d bytes does not have 50 messages", n)
		}
		took = append(took, time.Since(began))
		cl.send(fmt.Sprintf(`421["leaveRoom",{"roomId":"%s"}]`, chatRoom(i)))
		<-answered
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	t.Logf("%d messages are stored: a room opens in %v, p99 %v", messages, p50, p99)
	return p50
}

// While other clients store messages, the server answers events that it does not store as fast as
// while the others do something else.
func TestStoringSlowsNobodyElse(t *testing.T) {
	times := 50
	if *full {
		times = 1000
	}
	server := start(t, serverConfig{Chat: t.TempDir()})
	c := chat(t, server, 64)
	other := newCrowd(t, server)
	answered := make(chan struct{})
	other.receive = func(_ *client, packet []byte) {
		if bytes.HasPrefix(packet, []byte("43")) {
			answered <- struct{}{}
		}
	}
	cl := other.grow(1)[0]
	cl.send(`420["joinRoom",{"roomId":"quiet","userId":"ann"}]`)
	<-answered
	var medians [2]time.Duration
	for i, request := range []func(*client) string{typing, sendMessage} {
		c.busy(request, func() {
			var took []time.Duration
			for range times {
				sent := time.Now()
				cl.send(`422["typing",{"roomId":"quiet"}]`)
				<-answered
				took = append(took, time.Since(sent))
			}
			slices.Sort(took)
			medians[i] = took[len(took)/2]
		})
	}
	t.Logf("typing is answered in %v while 64 others type, in %v while they send", medians[0], medians[1])
	if c.refused.Load() > 0 {
		t.Errorf("%d requests were refused", c.refused.Load())
	}
	hold(t, bar.Bar{Name: "typing is answered while others store", Value: micros(medians[1]), Unit: "µs", Reference: "while they type", Base: micros(medians[0]), Most: 1.5})
}
