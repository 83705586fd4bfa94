package embedded_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/nats/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// start starts a server that knows others.
func start(t *testing.T, peers ...string) *embedded.Bus {
	t.Helper()
	return startWith(t, embedded.Options{Peers: peers})
}

func startWith(t *testing.T, o embedded.Options) *embedded.Bus {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	o.Secret = "the secret of the test"
	if o.Logger == nil {
		o.Logger = quiet
	}
	b, err := embedded.New(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// growing returns a function that starts one more server, which knows the first one only.
func growing(t *testing.T) func() *embedded.Bus {
	var first *embedded.Bus
	return func() *embedded.Bus {
		if first == nil {
			first = start(t)
			return first
		}
		return start(t, first.Addr())
	}
}

func TestBus(t *testing.T) {
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		next := growing(t)
		return adaptertest.Network{Connect: func() adapter.Bus { return next() }}
	})
}

func TestCluster(t *testing.T) {
	adaptertest.RunCluster(t, nil, func(t *testing.T) adaptertest.Servers {
		next := growing(t)
		return adaptertest.Servers{Steps: 300, Start: func(name string) adapter.Cluster {
			c, err := adapter.New(next(), &adapter.Options{Name: name, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}}
	})
}

// counter counts the numbered messages of several senders.
type counter struct {
	mu          sync.Mutex
	first, last map[string]int
	bad         string
}

func newCounter() *counter { return &counter{first: map[string]int{}, last: map[string]int{}} }

func (c *counter) deliver(data []byte) {
	var from string
	var n int
	fmt.Sscan(string(data), &from, &n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, known := c.last[from]; !known {
		c.first[from] = n
	} else if n != last+1 {
		c.bad = fmt.Sprintf("%s: %d after %d", from, n, last)
	}
	c.last[from] = n
}

// Servers come while others send, and send at once. Whoever listens gets everything from then on, also from
// those of which it heard from others.
func TestJoinWhileSending(t *testing.T) {
	a := start(t)
	b := start(t, a.Addr())
	old := []*counter{newCounter(), newCounter()}
	for i, bus := range []*embedded.Bus{a, b} {
		<-bus.Listen("topic", old[i].deliver).Active()
	}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); senders.Wait() })
	defer end()
	var mu sync.Mutex
	sent := map[string]int{}
	send := func(from string, bus *embedded.Bus, n int) {
		mu.Lock()
		defer mu.Unlock()
		if bus.Publish("topic", fmt.Append(nil, from, " ", n)) == nil {
			sent[from] = n
		} else {
			t.Errorf("%s could not send", from)
		}
	}
	pace := make(chan struct{}, 64) // in flight: so many that a moment without a listener is noticed
	heardBack := a.Listen("topic", func([]byte) {
		select {
		case <-pace:
		default:
		}
	})
	<-heardBack.Active()
	for from, bus := range map[string]*embedded.Bus{"a": a, "b": b} {
		senders.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				case pace <- struct{}{}:
					send(from, bus, n)
				}
			}
		})
	}
	for round := range 5 {
		c := start(t, a.Addr())
		name := fmt.Sprint("c", round)
		for n := range 1000 {
			if err := c.Publish("topic", fmt.Append(nil, name, " ", n)); err != nil {
				t.Fatal(err)
			}
		}
		young := newCounter()
		l := c.Listen("topic", young.deliver)
		<-l.Active()
		mu.Lock()
		from := map[string]int{"a": sent["a"], "b": sent["b"]}
		mu.Unlock()
		for other, n := range from {
			adaptertest.Eventually(t, "the newcomer hears the others", func() bool {
				young.mu.Lock()
				defer young.mu.Unlock()
				return young.last[other] > n+10
			})
			if first := young.first[other]; first > n+1 {
				t.Errorf("the newcomer heard %d of %s first, and listens since %d", first, other, n)
			}
		}
		for i := range old {
			adaptertest.Eventually(t, "the others have all of the newcomer", func() bool {
				old[i].mu.Lock()
				defer old[i].mu.Unlock()
				return old[i].last[name] == 999
			})
			if n := old[i].first[name]; n > 0 {
				t.Errorf("server %d missed the first %d of the newcomer", i, n)
			}
		}
		young.mu.Lock()
		if young.bad != "" {
			t.Errorf("the newcomer heard %s", young.bad)
		}
		young.mu.Unlock()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	end()
	for i := range old {
		old[i].mu.Lock()
		defer old[i].mu.Unlock()
		if old[i].bad != "" {
			t.Errorf("server %d heard %s", i, old[i].bad)
		}
	}
}
