package parley_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
)

// skewedBus delivers what different servers send in any order, as a mesh may. What one of them sends
// stays in order.
type skewedBus struct {
	*adapter.MemoryBus
	even    bool // without delays
	mu      sync.Mutex
	gate    func(topic string)                      // called before something is published; may be nil
	heard   func(topic string, from adapter.NodeID) // called after something is delivered; may be nil
	queues  map[adapter.NodeID][]func()             // by sender
	held    map[adapter.NodeID]bool                 // nothing of these senders arrives
	arrived chan struct{}
	done    chan struct{}
	once    sync.Once
}

func skew(bus *adapter.MemoryBus) *skewedBus {
	b := &skewedBus{
		MemoryBus: bus, queues: map[adapter.NodeID][]func(){}, held: map[adapter.NodeID]bool{},
		arrived: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go b.run()
	return b
}

func (b *skewedBus) Publish(topic string, data []byte) error {
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	if gate != nil {
		gate(topic)
	}
	return b.MemoryBus.Publish(topic, data)
}

func (b *skewedBus) Listen(topic string, deliver func([]byte)) adapter.Listening {
	return b.MemoryBus.Listen(topic, func(data []byte) {
		sender := adapter.NodeID(data[4:12])
		b.mu.Lock()
		b.queues[sender] = append(b.queues[sender], func() {
			deliver(data)
			b.mu.Lock()
			heard := b.heard
			b.mu.Unlock()
			if heard != nil {
				heard(topic, sender)
			}
		})
		b.mu.Unlock()
		b.wake()
	})
}

// watch sets gate and heard.
func (b *skewedBus) watch(gate func(string), heard func(string, adapter.NodeID)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gate, b.heard = gate, heard
}

func (b *skewedBus) wake() {
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// hold makes what a server sends wait, or arrive.
func (b *skewedBus) hold(sender adapter.NodeID, held bool) {
	b.mu.Lock()
	b.held[sender] = held
	b.mu.Unlock()
	b.wake()
}

func (b *skewedBus) run() {
	for {
		select {
		case <-b.arrived:
		case <-b.done:
			return
		}
		for next := b.next(); next != nil; next = b.next() {
			if !b.even && rand.IntN(64) == 0 {
				time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			}
			next()
		}
	}
}

// next returns a delivery of any sender.
func (b *skewedBus) next() (next func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for sender, queue := range b.queues {
		if b.held[sender] {
			continue
		}
		next = queue[0]
		if b.queues[sender] = queue[1:]; len(queue) == 1 {
			delete(b.queues, sender)
		}
		break
	}
	return next
}

func (b *skewedBus) Close() error {
	b.once.Do(func() { close(b.done) })
	return b.MemoryBus.Close()
}

// skewedPool is a cluster of three servers, old, new and other, in which the test decides what arrives
// when. A client is at old, in a room, and will move to new.
type skewedPool struct {
	*pool
	buses [3]*skewedBus
	ids   [3]adapter.NodeID
	v     *traveller

	topics int // that the new server listened to before the client came
}

const (
	old = iota
	young
	other
)

func newSkewedPool(t *testing.T) *skewedPool {
	t.Helper()
	p := &skewedPool{pool: &pool{t: t, net: adapter.NewMemory()}}
	for i, name := range []string{"old", "new", "other"} {
		p.buses[i] = skew(p.net.Connect())
		p.buses[i].even = true
		log, _ := logBuffer()
		c, err := adapter.New(p.buses[i], &adapter.Options{Name: name, Logger: log, Beat: time.Hour})
		ok(t, err)
		p.ids[i] = c.Self().ID
		s, url := serve(t, &parley.Options{Cluster: c, Recovery: &parley.Recovery{}})
		s.SetMoveTimeForTest(patience)
		p.servers, p.urls = append(p.servers, s), append(p.urls, url)
	}
	for _, s := range p.servers {
		eventually(t, "acquaintance", func() bool { return len(s.Nodes()) == 3 })
	}
	p.flush()
	p.v = p.traveller(old)
	ok(t, p.v.socket().Join("room"))
	ok(t, p.servers[other].To("room").Emit("first"))
	p.v.hear("first")
	return p
}

// moving makes the client move, and calls meanwhile while it does. What meanwhile waits for is what the move
// must not overtake: it gets some time to do so.
func (p *skewedPool) moving(meanwhile func()) (recovered bool) {
	p.t.Helper()
	p.topics = p.buses[young].Topics()
	moved := make(chan bool, 1)
	go func() { moved <- p.v.back(young) }()
	meanwhile()
	return await(p.t, "answer to CONNECT", moved)
}

// listened waits until the new server listens to the room. It has the first part of the session then.
func (p *skewedPool) listened() {
	p.t.Helper()
	eventually(p.t, "listening", func() bool { return p.buses[young].Topics() > p.topics })
}

// chance is the time that something gets that must not happen.
const chance = 50 * time.Millisecond

// Sessions that move to a server at the same time are few, and the others wait for their turn.
func TestHandoversTakeTurns(t *testing.T) {
	p := newSkewedPool(t)
	p.servers[young].SetArrivalsForTest(1)
	second := p.traveller(other)
	p.v.lose()
	second.lose()
	asked := map[string]chan struct{}{}
	for _, i := range []int{old, other} {
		asked["n/"+p.ids[i].String()] = make(chan struct{}, 100)
	}
	p.buses[young].watch(func(topic string) {
		if c := asked[topic]; c != nil {
			c <- struct{}{}
		}
	}, nil)
	p.buses[young].hold(p.ids[old], true) // the first session waits for its old server
	moved := make(chan bool, 2)
	go func() { moved <- p.v.back(young) }()
	await(t, "question", asked["n/"+p.ids[old].String()])
	go func() { moved <- second.back(young) }()
	time.Sleep(chance)
	select {
	case <-asked["n/"+p.ids[other].String()]:
		t.Error("the second session did not wait")
	default:
	}
	p.buses[young].hold(p.ids[old], false)
	for range 2 {
		if !await(t, "answer to CONNECT", moved) {
			t.Error("not recovered")
		}
	}
}

// What has not reached the old server yet, and was sent before the new one listened, is not lost.
func TestHandoverWaitsForTheOldServersEvents(t *testing.T) {
	p := newSkewedPool(t)
	p.v.lose()
	p.buses[old].hold(p.ids[other], true)
	ok(t, p.servers[other].To("room").Emit("slow"))
	if !p.moving(func() {
		p.listened()
		time.Sleep(chance)
		p.buses[old].hold(p.ids[other], false)
	}) {
		t.Fatal("not recovered")
	}
	ok(t, p.servers[other].To("room").Emit("next"))
	p.v.hear("slow", "next")
}

// What the client has received from the old server, and has not reached the new one yet, does not come twice.
func TestHandoverWaitsForTheNewServersEvents(t *testing.T) {
	p := newSkewedPool(t)
	p.buses[young].hold(p.ids[other], true)
	ok(t, p.servers[other].Emit("slow"))
	p.v.hear("slow")
	p.v.lose()
	if !p.moving(func() {
		time.Sleep(chance)
		p.buses[young].hold(p.ids[other], false)
	}) {
		t.Fatal("not recovered")
	}
	ok(t, p.servers[other].To("room").Emit("next"))
	p.v.hear("next")
}

// What the old server has passed on does not come again when it arrives at the new one.
func TestHandoverRecognizesWhatComesLate(t *testing.T) {
	p := newSkewedPool(t)
	release := make(chan struct{})
	p.servers[old].OnDisconnect(func(*parley.Socket, parley.Reason) { <-release }) // the session does not move before
	flushed := make(chan struct{}, 100)
	p.buses[young].watch(nil, func(topic string, from adapter.NodeID) {
		if from == p.ids[other] && topic == "n/"+p.ids[young].String() {
			flushed <- struct{}{}
		}
	})
	p.v.cut()
	if !p.moving(func() {
		await(t, "answer to flush", flushed)
		p.buses[young].hold(p.ids[other], true)
		ok(t, p.servers[other].Emit("slow"))
		// The old server asks the other one when the session moves, and has its event then.
		close(release)
	}) {
		t.Fatal("not recovered")
	}
	p.buses[young].hold(p.ids[other], false)
	ok(t, p.servers[other].To("room").Emit("next"))
	p.v.hear("slow", "next")
}

// What a server has delivered to its own sockets, but not yet published, is neither lost nor comes twice.
func TestHandoverWaitsForPublishing(t *testing.T) {
	for _, from := range []int{old, young} {
		p := newSkewedPool(t)
		held, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		p.buses[from].watch(func(topic string) {
			if topic == "r//room" {
				once.Do(func() { close(held) })
				<-release
			}
		}, nil)
		if from == young {
			p.v.lose()
		}
		published := make(chan error, 1)
		go func() { published <- p.servers[from].To("room").Emit("slow") }()
		await(t, "event", held)
		if from == old { // its own client has it
			p.v.hear("slow")
			p.v.lose()
		}
		if !p.moving(func() {
			if from == young {
				p.listened()
			}
			time.Sleep(chance)
			close(release)
		}) {
			t.Fatal("not recovered")
		}
		ok(t, await(t, "end of Emit", published), p.servers[other].To("room").Emit("next"))
		if from == young {
			p.v.hear("slow")
		}
		p.v.hear("next")
	}
}

// Whoever may have missed something while the session moved is not recovered.
func TestHandoverDuringAGap(t *testing.T) {
	p := newSkewedPool(t)
	p.v.lose()
	p.buses[old].hold(p.ids[other], true)
	if p.moving(func() {
		p.listened()
		p.buses[young].Cut(true)
		ok(t, p.servers[other].Emit("lost"))
		p.buses[young].Cut(false)
		time.Sleep(chance) // until it knows; else it is not recovered for another reason
		p.buses[old].hold(p.ids[other], false)
	}) {
		t.Error("recovered, although the new server has missed an event")
	}
}
