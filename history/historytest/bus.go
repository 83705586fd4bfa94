package historytest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parley-go/parley/history"
)

// Faults say what a [Network] does to each message on its way to each node.
type Faults struct {
	Drop      float64       // probability that the message is lost
	Duplicate float64       // probability that the message arrives twice
	Delay     time.Duration // random delay up to this, so later messages can overtake it
	Seed      uint64
}

// A Network connects nodes in one process. It is safe for concurrent use.
type Network struct {
	mu     sync.Mutex
	faults Faults
	random *rand.Rand
	down   bool
	rooms  map[string]map[*member]struct{}
	joined int // subscriptions made so far
}

type member struct{ deliver func(history.Message) }

// NewNetwork returns a network with the given faults.
func NewNetwork(f Faults) *Network {
	return &Network{
		faults: f,
		random: rand.New(rand.NewPCG(f.Seed, 0)),
		rooms:  make(map[string]map[*member]struct{}),
	}
}

// SetDown makes the network lose everything and refuse subscriptions, or makes it work again.
func (n *Network) SetDown(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// Subscriptions returns the number of active subscriptions, and of all subscriptions so far.
func (n *Network) Subscriptions() (active, ever int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, members := range n.rooms {
		active += len(members)
	}
	return active, n.joined
}

// Publish implements [history.Bus]. The message goes to all nodes, including the sender's.
func (n *Network) Publish(m *history.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return
	}
	for to := range n.rooms[m.RoomID] {
		copies := 1
		switch chance := n.random.Float64(); {
		case chance < n.faults.Drop:
			copies = 0
		case chance < n.faults.Drop+n.faults.Duplicate:
			copies = 2
		}
		for range copies {
			delay := time.Duration(n.random.Int64N(int64(n.faults.Delay) + 1))
			time.AfterFunc(delay, func() { to.deliver(*m) })
		}
	}
}

// Subscribe implements [history.Bus].
func (n *Network) Subscribe(_ context.Context, room string, deliver func(history.Message)) (cancel func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, errors.New("the network is down")
	}
	m := &member{deliver}
	if n.rooms[room] == nil {
		n.rooms[room] = make(map[*member]struct{})
	}
	n.rooms[room][m] = struct{}{}
	n.joined++
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.rooms[room], m)
	}, nil
}
