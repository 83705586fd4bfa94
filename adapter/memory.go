package adapter

import (
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/fifo"
)

// Memory connects servers of one process, for tests and simulations. It is the reference for drivers:
// it promises what a Bus promises, and nothing else.
type Memory struct {
	// Delay is how long a new Listening takes to become active.
	Delay time.Duration

	// MaxQueue is how many messages may wait for a server. More are lost, which it learns. The default
	// is 65,536.
	MaxQueue int

	// MaxMessage is the size of the largest message, in bytes. The default is 16 MiB.
	MaxMessage int

	mu     sync.Mutex
	topics map[string][]*memoryListening
}

// NewMemory returns a network without servers.
func NewMemory() *Memory {
	return &Memory{MaxQueue: 1 << 16, MaxMessage: 16 << 20, topics: map[string][]*memoryListening{}}
}

// MemoryBus is one server's end of a Memory.
type MemoryBus struct {
	net *Memory

	// Guarded by net.mu.
	queue    fifo.Queue[func()]
	running  bool
	lost     bool // says so when there is room again
	cut      bool
	closed   bool
	watchers map[int]func(State)
	next     int
	received int
}

type memoryListening struct {
	bus     *MemoryBus
	topic   string
	deliver func([]byte)
	active  chan struct{}
	ready   bool
	closed  bool
}

// Connect returns a new server's end.
func (n *Memory) Connect() *MemoryBus {
	return &MemoryBus{net: n, watchers: map[int]func(State){}}
}

// Publish implements Bus.
func (b *MemoryBus) Publish(topic string, data []byte) error {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case len(data) > n.MaxMessage:
		return ErrTooLarge
	case b.cut:
		return ErrFull
	}
	for _, l := range n.topics[topic] {
		if l.ready && !l.bus.cut {
			l.bus.received++
			l.bus.pushLocked(func() {
				if !l.isClosed() {
					l.deliver(data)
				}
			})
		}
	}
	return nil
}

// Received returns how many messages have arrived.
func (b *MemoryBus) Received() int {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return b.received
}

// Topics returns how many topics the server listens to.
func (b *MemoryBus) Topics() (n int) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for _, all := range b.net.topics {
		if slices.ContainsFunc(all, func(l *memoryListening) bool { return l.bus == b }) {
			n++
		}
	}
	return n
}

// pushLocked queues a call.
func (b *MemoryBus) pushLocked(f func()) {
	if b.queue.Len() >= b.net.MaxQueue {
		b.lost = true
		return
	}
	b.queue.Push(f)
	if !b.running {
		b.running = true
		go b.run()
	}
}

func (b *MemoryBus) run() {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for b.queue.Len() > 0 || b.lost {
		if b.queue.Len() == 0 {
			b.lost = false
			b.tellLocked(Lost)
			continue
		}
		f := b.queue.Pop()
		b.net.mu.Unlock()
		f()
		b.net.mu.Lock()
	}
	b.running = false
}

// Listen implements Bus.
func (b *MemoryBus) Listen(topic string, deliver func([]byte)) Listening {
	l := &memoryListening{bus: b, topic: topic, deliver: deliver, active: make(chan struct{})}
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.topics[topic] = append(n.topics[topic], l)
	if n.Delay == 0 {
		l.activateLocked()
	} else {
		time.AfterFunc(n.Delay, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			l.activateLocked()
		})
	}
	return l
}

func (l *memoryListening) activateLocked() {
	if !l.ready && !l.closed && !l.bus.cut {
		l.ready = true
		close(l.active)
	}
}

func (l *memoryListening) isClosed() bool {
	l.bus.net.mu.Lock()
	defer l.bus.net.mu.Unlock()
	return l.closed
}

// Active implements Listening.
func (l *memoryListening) Active() <-chan struct{} { return l.active }

// Close implements Listening.
func (l *memoryListening) Close() {
	n := l.bus.net
	n.mu.Lock()
	defer n.mu.Unlock()
	l.closed = true
	var rest []*memoryListening
	for _, other := range n.topics[l.topic] {
		if other != l {
			rest = append(rest, other)
		}
	}
	if n.topics[l.topic] = rest; len(rest) == 0 {
		delete(n.topics, l.topic)
	}
}

// Watch implements Bus.
func (b *MemoryBus) Watch(f func(State)) (stop func()) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	id := b.next
	b.next++
	b.watchers[id] = f
	return func() {
		b.net.mu.Lock()
		defer b.net.mu.Unlock()
		delete(b.watchers, id)
	}
}

// tellLocked queues the news for the watchers.
func (b *MemoryBus) tellLocked(s State) {
	for id := range b.next {
		if f := b.watchers[id]; f != nil {
			b.queue.Push(func() { f(s) })
		}
	}
	if !b.running && b.queue.Len() > 0 {
		b.running = true
		go b.run()
	}
}

// Cut takes the server off the network, or puts it back.
func (b *MemoryBus) Cut(cut bool) {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if b.cut == cut {
		return
	}
	b.cut = cut
	if cut {
		b.tellLocked(Down)
		return
	}
	for _, all := range n.topics {
		for _, l := range all {
			if l.bus == b {
				l.activateLocked()
			}
		}
	}
	b.tellLocked(Up)
}

// Caps implements Bus.
func (b *MemoryBus) Caps() Caps {
	return Caps{MaxMessage: b.net.MaxMessage, Interest: true, Order: PerSender}
}

// Close implements Bus.
func (b *MemoryBus) Close() error {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	b.closed = true
	for topic, all := range n.topics {
		var rest []*memoryListening
		for _, l := range all {
			if l.bus == b {
				l.closed = true
			} else {
				rest = append(rest, l)
			}
		}
		if n.topics[topic] = rest; len(rest) == 0 {
			delete(n.topics, topic)
		}
	}
	clear(b.watchers)
	return nil
}
