package adapter

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
)

// Outlet sends to the servers of a cluster of Native, without being one of them. It is safe for concurrent use.
type Outlet struct {
	bus    Bus
	node   NodeID
	number atomic.Uint64

	mu         sync.Mutex
	namespaces map[string]*topics
}

// NewOutlet returns an outlet over the bus of a cluster. Close also closes the bus.
func NewOutlet(bus Bus) *Outlet {
	o := &Outlet{bus: bus, namespaces: map[string]*topics{}}
	rand.Read(o.node[:])
	return o
}

// Publish sends a Broadcast, Join, Leave, Disconnect or ServerEvent to m.Namespace, as Link.Publish does.
func (o *Outlet) Publish(m *Message) error {
	o.mu.Lock()
	t := o.namespaces[m.Namespace]
	if t == nil {
		all := topicsOf(o.bus, m.Namespace)
		t = &all
		o.namespaces[m.Namespace] = t
	}
	o.mu.Unlock()
	m.Node, m.Request, m.Number = o.node, 0, o.number.Add(1)
	topic, fenced := t.destination(m)
	if fenced {
		o.fence(m)
	}
	err := o.bus.Publish(topic, m.encode())
	if parts(m) { // see fences
		o.fence(&Message{Node: o.node, Number: o.number.Add(1)})
	}
	return err
}

// fence publishes the fences of m.
func (o *Outlet) fence(m *Message) {
	for _, lane := range o.bus.Caps().Lanes {
		_ = o.bus.Publish(lane, fenceOf(m).encode())
	}
}

// Close sends what is queued, waiting a second at most, and closes the bus.
func (o *Outlet) Close() error { return o.bus.Close() }
