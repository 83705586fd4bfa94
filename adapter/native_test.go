package adapter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
)

func connect(t *testing.T, bus adapter.Bus, name string) *adapter.Native {
	t.Helper()
	n, err := adapter.New(bus, &adapter.Options{Name: name, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func join(t *testing.T, n *adapter.Native) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return n.Join(ctx)
}

// Two servers cannot have one name. A server that restarts can keep its own.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus := net.Connect()
		first, other := connect(t, bus, "a"), connect(t, net.Connect(), "b")
		if err := errors.Join(join(t, first), join(t, other)); err != nil {
			t.Fatal(err)
		}
		err := join(t, connect(t, net.Connect(), "a"))
		if err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("a second server with the same name: %v", err)
		}
		if err := join(t, first); err != nil {
			t.Errorf("the first one: %v", err)
		}
		if nodes := other.Nodes(); len(nodes) != 2 || nodes[1].ID != first.Self().ID {
			t.Errorf("because of the one that was refused, the other one knows %v", nodes)
		}
		bus.Cut(true) // it dies
		again := connect(t, net.Connect(), "a")
		if err := join(t, again); err != nil {
			t.Errorf("restarted: %v", err)
		}
		synctest.Wait()
		if nodes := other.Nodes(); len(nodes) != 2 || nodes[1].ID != again.Self().ID {
			t.Errorf("the other one knows %v", nodes)
		}
	})
}

// Two servers that took one name while they did not hear each other both say so, and say it once.
func TestNameOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus := net.Connect()
		var logs [2]bytes.Buffer
		for i, b := range []*adapter.MemoryBus{bus, net.Connect()} {
			n, err := adapter.New(b, &adapter.Options{Name: "a", Logger: slog.New(slog.NewTextHandler(&logs[i], nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			if err := join(t, n); err != nil {
				t.Fatal(err)
			}
			bus.Cut(i == 0) // the first one is away, and then back
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i := range logs {
			if n := strings.Count(logs[i].String(), "has the name or the tag of this one"); n != 1 {
				t.Errorf("server %d has said it %d times", i, n)
			}
		}
	})
}

// slowAnswers is a bus on which answers arrive late: its server's own topic takes a second to be active.
type slowAnswers struct{ *adapter.MemoryBus }

type lateListening struct {
	adapter.Listening
	active chan struct{}
}

func (l lateListening) Active() <-chan struct{} { return l.active }

func (s slowAnswers) Listen(topic string, deliver func([]byte)) adapter.Listening {
	if !strings.HasPrefix(topic, "n/") {
		return s.MemoryBus.Listen(topic, deliver)
	}
	l := lateListening{active: make(chan struct{})}
	time.AfterFunc(time.Second, func() {
		s.MemoryBus.Listen(topic, deliver)
		close(l.active)
	})
	return l
}

func (lateListening) Close() {}

// A call at the very beginning waits until the answers can arrive.
func TestCallAtTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		adaptertest.NewSpace(connect(t, net.Connect(), "a"), "/").Connect("k")
		b := adaptertest.NewSpace(connect(t, slowAnswers{net.Connect()}, "b"), "/")
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		count := 0
		for deadline := time.Now().Add(10 * time.Second); count == 0 && time.Now().Before(deadline); time.Sleep(time.Second) {
			if err := b.Link.Call(ctx, &adapter.Message{Kind: adapter.Count}, func(a *adapter.Answer) { count += a.Count }); err != nil {
				t.Fatal(err)
			}
		}
		if count != 1 {
			t.Errorf("counted %d", count)
		}
	})
}

func TestJoinNeedsTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := adapter.NewMemory().Connect()
		bus.Cut(true)
		if err := join(t, connect(t, bus, "a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a bus: %v", err)
		}
	})
}

// deaf is a bus that delivers nothing, and says nothing about it, until it is connected again.
type deaf struct {
	*adapter.MemoryBus
	deaf, reconnected atomic.Bool
}

func (d *deaf) Publish(topic string, data []byte) error {
	if d.deaf.Load() {
		return nil
	}
	return d.MemoryBus.Publish(topic, data)
}

func (d *deaf) Reconnect() {
	d.deaf.Store(false)
	d.reconnected.Store(true)
	d.Cut(true)
	d.Cut(false)
}

// A server notices that it no longer hears itself, and connects again.
func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &deaf{MemoryBus: adapter.NewMemory().Connect()}
		n := connect(t, bus, "a")
		time.Sleep(time.Minute)
		synctest.Wait()
		if bus.reconnected.Load() {
			t.Fatal("it connected again for no reason")
		}
		bus.deaf.Store(true)
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if !bus.reconnected.Load() || n.Gaps() == 0 {
			t.Errorf("it did not notice; gaps: %d", n.Gaps())
		}
	})
}

// refusing is a bus whose queue is full.
type refusing struct {
	*adapter.MemoryBus
	full atomic.Bool
}

func (r *refusing) Publish(topic string, data []byte) error {
	if r.full.Load() {
		return adapter.ErrFull
	}
	return r.MemoryBus.Publish(topic, data)
}

// When a server could not send something, the others learn that they miss it.
func TestSenderTellsOfItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus := &refusing{MemoryBus: net.Connect()}
		a := adaptertest.NewSpace(connect(t, bus, "a"), "/")
		b := adaptertest.NewSpace(connect(t, net.Connect(), "b"), "/")
		time.Sleep(5 * time.Second)
		bus.full.Store(true)
		if err := a.Emit(adapter.Selection{}, "lost"); !errors.Is(err, adapter.ErrFull) {
			t.Errorf("the sender's error is %v", err)
		}
		bus.full.Store(false)
		if b.Gaps() != 0 {
			t.Fatal("too early")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if b.Gaps() != 1 {
			t.Errorf("the other server knows of %d gaps", b.Gaps())
		}
	})
}

// A server that was taken for dead and comes back may have sent what nobody received.
func TestBackFromTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus := &refusing{MemoryBus: net.Connect()}
		adaptertest.NewSpace(connect(t, bus, "a"), "/")
		n := connect(t, net.Connect(), "b")
		b := adaptertest.NewSpace(n, "/")
		time.Sleep(5 * time.Second)
		bus.full.Store(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(n.Nodes()) != 1 || b.Gaps() != 0 {
			t.Fatalf("it knows %d servers and of %d gaps", len(n.Nodes()), b.Gaps())
		}
		bus.full.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(n.Nodes()) != 2 || b.Gaps() != 1 {
			t.Errorf("it knows %d servers and of %d gaps", len(n.Nodes()), b.Gaps())
		}
	})
}

// A volatile event is not queued for a bus that is down, and nobody is told that it is missing.
func TestVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus := net.Connect()
		a := adaptertest.NewSpace(connect(t, bus, "a"), "/")
		time.Sleep(5 * time.Second)
		bus.Cut(true)
		synctest.Wait()
		m := &adapter.Message{Kind: adapter.Broadcast, Flags: adapter.Volatile, Data: []byte(`["x"]`)}
		if err := a.Link.Publish(m); err != nil {
			t.Errorf("volatile: %v", err)
		}
		m.Flags = 0
		if err := a.Link.Publish(m); !errors.Is(err, adapter.ErrFull) {
			t.Errorf("not volatile: %v", err)
		}
	})
}

// A server listens to a room for a while after its last member has left, and then no longer.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		n := connect(t, net.Connect(), "a")
		a := adaptertest.NewSpace(n, "/")
		base := n.Topics("/")
		k := a.Connect("k")
		for range 3 {
			k.Join("room")
			k.Leave("room")
		}
		if got := n.Topics("/"); got != base+2 {
			t.Errorf("it listens to %d topics", got-base)
		}
		time.Sleep(29 * time.Second)
		k.Join("room")
		time.Sleep(29 * time.Second)
		if got := n.Topics("/"); got != base+2 {
			t.Errorf("with a member it listens to %d topics", got-base)
		}
		k.Leave("room")
		time.Sleep(33 * time.Second)
		synctest.Wait()
		if got := n.Topics("/"); got != base+1 {
			t.Errorf("without members it listens to %d topics", got-base)
		}
		k.Join("room")
		if got := n.Topics("/"); got != base+2 {
			t.Errorf("joined again, it listens to %d topics", got-base)
		}
	})
}

// What nobody understands harms nobody.
func TestNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		n := connect(t, net.Connect(), "a")
		space := adaptertest.NewSpace(n, "/")
		k := space.Connect("k")
		peer := adapter.NodeID{9}
		for kind := range 256 {
			for _, data := range []string{"", "{", "[1]", `{"name":5}`, "null", `{"count":-1}`} {
				for _, namespace := range []string{"/", "/unknown"} {
					if adapter.Kind(kind) == adapter.Broadcast || adapter.Kind(kind) == adapter.Disconnect {
						continue
					}
					m := &adapter.Message{Kind: adapter.Kind(kind), Node: peer, Namespace: namespace, Request: 1, Data: []byte(data)}
					n.Receive(m.Encode())
				}
			}
		}
		n.Receive(nil)
		n.Receive([]byte("hello"))
		old := (&adapter.Message{Kind: adapter.Broadcast, Node: peer, Namespace: "/", Data: []byte("x")}).Encode()
		old[1] = 2
		n.Receive(old)
		if got := k.Heard(); len(got) > 0 {
			t.Errorf("a message of another version was delivered: %q", got)
		}
		old[1] = 1
		n.Receive(old)
		if got := k.Heard(); len(got) != 1 {
			t.Errorf("a message of this version was not delivered: %q", got)
		}
	})
}

// With rooms of two, a server receives only what concerns it.
func TestInterest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes, rooms, each = 100, 1000, 3
		net := adapter.NewMemory()
		var buses []*adapter.MemoryBus
		var spaces []*adaptertest.Space
		for i := range nodes {
			bus := net.Connect()
			buses = append(buses, bus)
			spaces = append(spaces, adaptertest.NewSpace(connect(t, bus, fmt.Sprint("node ", i)), "/"))
		}
		random := rand.New(rand.NewPCG(1, 1))
		home := make([]*adaptertest.Space, rooms)
		for r := range rooms {
			for side := range 2 {
				home[r] = spaces[random.IntN(nodes)]
				home[r].Connect(fmt.Sprint(r, "/", side)).Join(fmt.Sprint("room ", r))
			}
		}
		synctest.Wait()
		before := 0
		for _, b := range buses {
			before += b.Received()
		}
		for range each {
			for r, s := range home {
				if err := s.Emit(adapter.Selection{Rooms: []string{fmt.Sprint("room ", r)}}, "x"); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		received := -before
		for _, b := range buses {
			received += b.Received()
		}
		share := float64(received) / nodes / (rooms * each)
		t.Logf("of each message, a server receives %.4f", share)
		if share > 0.03 || received < rooms*each {
			t.Errorf("the servers received %d messages of %d sent", received, rooms*each)
		}
	})
}

// oneTopic is a bus on which a topic for each room would be of no use.
type oneTopic struct{ *adapter.MemoryBus }

func (oneTopic) Caps() adapter.Caps { return adapter.Caps{MaxMessage: 1 << 20} }

// Without interest, all is as it is with it, and a server listens to no more topics for more rooms.
func TestNoInterest(t *testing.T) {
	adaptertest.RunCluster(t, synctest.Test, func(t *testing.T) adaptertest.Servers {
		net := adapter.NewMemory()
		net.Delay = time.Millisecond
		return adaptertest.Servers{Start: func(name string) adapter.Cluster { return connect(t, oneTopic{net.Connect()}, name) }}
	})
	synctest.Test(t, func(t *testing.T) {
		bus := adapter.NewMemory().Connect()
		s := adaptertest.NewSpace(connect(t, oneTopic{bus}, "a"), "/")
		time.Sleep(time.Second)
		before := bus.Topics()
		for i := range 100 {
			s.Connect(fmt.Sprint("k", i)).Join(fmt.Sprint("room ", i))
		}
		time.Sleep(time.Second)
		if n := bus.Topics(); n != before {
			t.Errorf("100 rooms made it listen to %d more topics", n-before)
		}
	})
}

// The log of a server says who comes, and who leaves properly.
func TestLogOfComingAndGoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder // in a bubble that waits, nobody writes meanwhile
		net := adapter.NewMemory()
		a, err := adapter.New(net.Connect(), &adapter.Options{Name: "a", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b := connect(t, net.Connect(), "b")
		if err := errors.Join(join(t, a), join(t, b)); err != nil {
			t.Fatal(err)
		}
		b.Close()
		synctest.Wait()
		for _, want := range []string{`"a server of the cluster is there" node=b`, `"a server of the cluster has left" node=b`} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("not one line with %s in\n%s", want, log.String())
			}
		}
	})
}
