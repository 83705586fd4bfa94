package historybus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historybus"
	"github.com/parley-go/parley/history/historytest"
)

// A lookup of the client library of Redis that is put off sleeps for up to a second, also after the
// client's end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// node is a server of a cluster.
type node struct {
	*adapter.Native
	bus *adapter.MemoryBus
}

// cluster connects n servers in memory.
func cluster(n int) (nodes []node) {
	net := adapter.NewMemory()
	net.Delay = time.Millisecond
	for i := range n {
		bus := net.Connect()
		native, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint("node-", i), Beat: 2 * time.Second})
		if err != nil {
			panic(err)
		}
		if err := native.Join(context.Background()); err != nil {
			panic(err)
		}
		nodes = append(nodes, node{native, bus})
	}
	return nodes
}

// lossy is an exchange that loses, repeats and delays what it hears.
type lossy struct {
	adapter.Exchange
	faults historytest.Faults
	mu     *sync.Mutex
	random *rand.Rand
}

func (l lossy) Hear(subject string, f func(adapter.Node, []byte)) adapter.Listening {
	return l.Exchange.Hear(subject, func(from adapter.Node, data []byte) {
		l.mu.Lock()
		defer l.mu.Unlock()
		copies := 1
		switch chance := l.random.Float64(); {
		case chance < l.faults.Drop:
			copies = 0
		case chance < l.faults.Drop+l.faults.Duplicate:
			copies = 2
		}
		for range copies {
			delay := time.Duration(l.random.Int64N(int64(l.faults.Delay) + 1))
			time.AfterFunc(delay, func() { f(from, data) })
		}
	})
}

// Three servers share a store. Their bus loses, repeats, delays and reorders, and each of them is cut off
// now and then. No client misses anything.
func TestJoin(t *testing.T) {
	historytest.RunJoinOver(t, func(testing.TB) history.Store { return history.NewMemory() },
		func(n int, f historytest.Faults) (buses []history.Bus, close func()) {
			random := rand.New(rand.NewPCG(f.Seed, 3))
			nodes, mu := cluster(n), new(sync.Mutex)
			var cuts []*time.Timer
			for _, node := range nodes {
				buses = append(buses, historybus.New(lossy{node, f, mu, random}, node.bus))
				cut := time.Duration(random.IntN(2000)) * time.Millisecond
				cuts = append(cuts, time.AfterFunc(cut, func() { node.bus.Cut(true) }),
					time.AfterFunc(cut+time.Duration(random.IntN(10_000))*time.Millisecond, func() { node.bus.Cut(false) }))
			}
			return buses, func() {
				for _, cut := range cuts {
					cut.Stop()
				}
				for _, node := range nodes {
					node.Close()
				}
			}
		})
}

// in runs f with logs over one store.
func in(t *testing.T, n int, f func(t *testing.T, nodes []node, logs []*history.Log, store *history.Memory)) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		nodes := cluster(n)
		var logs []*history.Log
		for _, node := range nodes {
			log := history.NewLog(store, &history.LogOptions{Bus: historybus.New(node, node.bus)})
			defer node.Close()
			defer log.Close()
			logs = append(logs, log)
		}
		time.Sleep(time.Second) // they know each other
		f(t, nodes, logs, store)
	})
}

// ears is a subscriber that records what it gets, and when.
type ears struct {
	mu    sync.Mutex
	heard []history.Message
	at    []time.Time
	lost  error
}

func (e *ears) Deliver(m *history.Live) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard, e.at = append(e.heard, m.Message), append(e.at, time.Now())
}

func (e *ears) Lost(_ string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost = err
}

func (e *ears) ended() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost
}

func (e *ears) open(t *testing.T, log *history.Log, room string) {
	t.Helper()
	s, err := log.Open(t.Context(), room, history.OpenOptions{}, e, func(history.Opened) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
}

func send(t *testing.T, log *history.Log, text string) history.Message {
	t.Helper()
	a, err := log.Append(t.Context(), history.Draft{RoomID: "r", UserID: "ann", ClientID: text[:1], Message: []byte(`"` + text + `"`)})
	if err != nil {
		t.Fatal(err)
	}
	return a.Message
}

// What a server stores reaches the others as it is, at once: small messages as a whole, and large ones
// by way of the store.
func TestMessagesCross(t *testing.T) {
	in(t, 2, func(t *testing.T, nodes []node, logs []*history.Log, store *history.Memory) {
		var e ears
		e.open(t, logs[1], "r")
		started := time.Now()
		small, large := send(t, logs[0], "hello"), send(t, logs[0], strings.Repeat("x", 64<<10-100))
		edited, err := logs[0].Edit(t.Context(), history.Edit{RoomID: "r", Seq: 1})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []history.Message{small, large, edited.Message}
		if fmt.Sprint(e.heard) != fmt.Sprint(want) {
			t.Errorf("heard %v, want %v", e.heard, want)
		}
		if took := time.Since(started); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// After an outage, what was lost comes at once, and not with the next audit.
func TestAfterAnOutage(t *testing.T) {
	in(t, 2, func(t *testing.T, nodes []node, logs []*history.Log, store *history.Memory) {
		var e, late ears
		e.open(t, logs[1], "r")
		time.Sleep(4 * time.Second) // the next audit is in a second
		nodes[1].bus.Cut(true)
		send(t, logs[0], "lost")
		synctest.Wait()
		began := time.Now()
		late.open(t, logs[1], "other") // does not wait for the bus
		if took := time.Since(began); took != 0 {
			t.Errorf("a room that is opened while the bus is down waits for %v", took)
		}
		time.Sleep(500 * time.Millisecond)
		if len(e.heard) > 0 {
			t.Fatal("heard what was sent while the bus was down")
		}
		nodes[1].bus.Cut(false)
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if len(e.heard) != 1 {
			t.Errorf("heard %d messages after the bus was back", len(e.heard))
		}
		// The room that was opened meanwhile is heard now.
		if _, err := logs[0].Append(t.Context(), history.Draft{RoomID: "other", UserID: "ann", Message: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(late.heard) != 1 {
			t.Error("a room that was opened while the bus was down is not heard afterwards")
		}
	})
}

// A room that is erased on one server ends on the others: at once, and without the bus with the next
// audit.
func TestErasure(t *testing.T) {
	for _, down := range []bool{false, true} {
		in(t, 2, func(t *testing.T, nodes []node, logs []*history.Log, store *history.Memory) {
			send(t, logs[0], "secret")
			var e ears
			e.open(t, logs[1], "r")
			nodes[1].bus.Cut(down)
			if _, err := logs[0].EraseRoom(t.Context(), "r"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if down {
				if e.ended() != nil {
					t.Error("the bus is down, and it was heard")
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
			}
			if history.Code(e.ended()) != history.ErrNotFound.Code {
				t.Errorf("down %v: the subscription ended with %v", down, e.ended())
			}
		})
	}
}

// A server hears only the rooms that somebody there has open.
func TestInterest(t *testing.T) {
	in(t, 2, func(t *testing.T, nodes []node, logs []*history.Log, store *history.Memory) {
		before := nodes[1].bus.Received()
		for range 100 {
			if _, err := logs[0].Append(t.Context(), history.Draft{RoomID: "r", UserID: "ann", Message: []byte("1")}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := nodes[1].bus.Received() - before; n != 0 {
			t.Errorf("received %d messages of a room that nobody has open", n)
		}
		topics := nodes[1].bus.Topics()
		var e ears
		s, err := logs[1].Open(t.Context(), "r", history.OpenOptions{}, &e, func(history.Opened) {})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		synctest.Wait()
		if n := nodes[1].bus.Topics(); n != topics {
			t.Errorf("listens to %d topics, %d before", n, topics)
		}
	})
}
