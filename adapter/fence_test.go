package adapter_test

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
)

// lanes is a bus that keeps the order of each of its lanes only: each takes another time.
type lanes struct {
	*adapter.MemoryBus
	topics []string
	pauses *rand.Rand // between the messages of a lane; nil: none

	mu      sync.Mutex
	busy    [laneCount]time.Time // until which a lane delivers earlier messages
	waiting [laneCount][]func()
	lost    int // the lane that loses everything, from 1 on
	closed  bool
}

const laneCount = 5

func laneOf(topic string) int {
	h := fnv.New32a()
	h.Write([]byte(topic))
	return int(h.Sum32() % laneCount)
}

func newLanes(bus *adapter.MemoryBus) *lanes {
	l := &lanes{MemoryBus: bus, topics: make([]string, laneCount)}
	for i, found := 0, 0; found < laneCount; i++ {
		topic := string(rune('A' + i))
		if n := laneOf(topic); l.topics[n] == "" {
			l.topics[n] = topic
			found++
		}
	}
	return l
}

func (l *lanes) Caps() adapter.Caps {
	c := l.MemoryBus.Caps()
	c.Order, c.Lanes = adapter.PerTopic, l.topics
	return c
}

func (l *lanes) Publish(topic string, data []byte) error {
	n := laneOf(topic)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return adapter.ErrClosed
	case l.lost == n+1:
		return nil
	}
	l.waiting[n] = append(l.waiting[n], func() { _ = l.MemoryBus.Publish(topic, data) })
	at := time.Now().Add(time.Duration(1+n) * 7 * time.Millisecond)
	if l.pauses != nil {
		if at.Before(l.busy[n]) {
			at = l.busy[n]
		}
		at = at.Add(time.Duration(l.pauses.IntN(3000)) * time.Microsecond)
		l.busy[n] = at
	}
	time.AfterFunc(time.Until(at), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting[n][0]()
		l.waiting[n] = l.waiting[n][1:]
	})
	return nil
}

func (l *lanes) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	return l.MemoryBus.Close()
}

// lanedServers makes servers on buses with lanes.
func lanedServers(t *testing.T, setUp func(*adapter.Native)) adaptertest.Servers {
	net := adapter.NewMemory()
	return adaptertest.Servers{PerTopic: true, Steps: 1000, Start: func(name string) adapter.Cluster {
		bus := newLanes(net.Connect())
		bus.pauses = rand.New(rand.NewPCG(1, 2))
		n, err := adapter.New(bus, &adapter.Options{Name: name, Logger: quiet, MaxHold: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if setUp != nil {
			setUp(n)
		}
		return n
	}}
}

// On a bus without an order between topics, changes and what is sent to one room keep theirs.
func TestLanes(t *testing.T) {
	adaptertest.RunCluster(t, synctest.Test, func(t *testing.T) adaptertest.Servers { return lanedServers(t, nil) })
}

// Without fences, the suite fails.
func TestTheSuiteFailsWithoutFences(t *testing.T) {
	for _, test := range []string{"EmitThenChange"} {
		synctest.Test(t, func(t *testing.T) {
			if err := adaptertest.Try(test, lanedServers(t, (*adapter.Native).Unfenced)); err == nil {
				t.Errorf("without fences, %s passes", test)
			} else {
				t.Logf("%s: %.200s", test, err)
			}
		})
	}
}

// A lane that loses a fence delays what is sent, and no more.
func TestLostFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus := newLanes(net.Connect())
		a := adaptertest.NewSpace(connect(t, bus, "a"), "/")
		far := net.Connect()
		b := adaptertest.NewSpace(connect(t, newLanes(far), "b"), "/")
		k := b.Connect("k")
		k.Join("old")
		time.Sleep(5 * time.Second)
		// exchange makes sockets join and sends to them, and returns how long that takes.
		exchange := func() time.Duration {
			start, want := time.Now(), len(k.Heard())+3
			for range 3 {
				if err := a.SocketsJoin(adapter.Selection{Rooms: []string{"old"}}, "new"); err != nil {
					t.Fatal(err)
				}
				if err := a.Emit(adapter.Selection{}, "x"); err != nil {
					t.Fatal(err)
				}
			}
			for len(k.Heard()) < want {
				time.Sleep(time.Millisecond)
				if time.Since(start) > time.Minute {
					t.Fatalf("it received %q", k.Heard())
				}
			}
			return time.Since(start)
		}
		if took := exchange(); took > 40*time.Millisecond {
			t.Errorf("with all lanes, it took %v", took)
		}
		bus.mu.Lock()
		bus.lost = 1 + (laneOf("a/")+1)%laneCount
		bus.mu.Unlock()
		if took := exchange(); took < time.Second || took > 3*time.Second {
			t.Errorf("without one, it took %v", took)
		}
		// Later fences that are complete do not prolong that.
		start := time.Now()
		if err := a.SocketsLeave(adapter.Selection{}, "old"); err != nil {
			t.Fatal(err)
		}
		bus.mu.Lock()
		bus.lost = 0
		bus.mu.Unlock()
		for !slices.Contains(k.Rooms(), "late") && time.Since(start) < time.Minute {
			time.Sleep(time.Second)
			if err := a.SocketsJoin(adapter.Selection{}, "late"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("with later fences, it took %v", took)
		}
		// When the bus is known to be away, nothing is waited for.
		start, want := time.Now(), len(k.Heard())+1
		if err := a.SocketsLeave(adapter.Selection{}, "new"); err != nil {
			t.Fatal(err)
		}
		_ = a.Emit(adapter.Selection{}, "x")
		time.Sleep(100 * time.Millisecond)
		far.Cut(true)
		synctest.Wait()
		if got := len(k.Heard()); got != want || time.Since(start) > time.Second {
			t.Errorf("after Down, it has received %d, not %d", got, want)
		}
	})
}
