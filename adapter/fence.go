package adapter

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// fences keep the order of what a server sends, around changes, on a bus that keeps only that of each lane
// (Caps.Lanes). Events for different rooms may overtake each other there. But an event must neither overtake
// the change that makes a socket join, nor be overtaken by the one that disconnects it.
//
//	sender    publishes a fence to each lane, with the number of the change, and then the change
//	receiver  holds back what has this number or a higher one, until the fences of all lanes are there:
//	          by then everything with a lower number is there, too
//
// The change itself may arrive after all fences of its number, and what follows it must not overtake it. What
// follows a join takes its topic, so it does not. A leave or disconnection is followed by fences of the next
// number: by the time that these are there, it is.
//
// What is sent to one room keeps its order as well: it has one topic, and whenever it gets another one,
// there is a fence.
type fences struct {
	native *Native
	topics []string // of the lanes; none if the bus keeps all order

	mu      sync.Mutex // held while something is received
	lanes   []Listening
	senders map[NodeID]*fenced
}

// fenced is what is known about a sender with incomplete fences.
type fenced struct {
	fences []fence    // in the order of their numbers
	held   []*Message // in the order of their arrival
	timer  *time.Timer
}

type fence struct {
	number uint64
	lanes  map[int]bool // those whose fence is there
}

// maxHeld is how many messages of a sender are held back.
const maxHeld = 10_000

// listen listens to the lanes, before Native listens to anything else.
func (f *fences) listen(n *Native) {
	f.native, f.topics, f.senders = n, n.bus.Caps().Lanes, map[NodeID]*fenced{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, lane := range f.topics {
		f.lanes = append(f.lanes, n.bus.Listen(lane, func(data []byte) { f.meet(i, data) }))
	}
	n.listening = append(n.listening, f.lanes...) // so the others know us when all are active
}

func (f *fences) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.senders {
		s.timer.Stop()
	}
	clear(f.senders)
}

// publish publishes the fences of m.
func (f *fences) publish(m *Message) {
	n := f.native
	if len(f.topics) == 0 || n.careless.noFence {
		return
	}
	if m.Number == 0 { // else Number has numbered it
		m.Number = n.number.Add(1)
	}
	for _, lane := range f.topics {
		_ = n.publish(lane, fenceOf(m))
	}
}

// follow publishes fences after m, if what follows takes other topics.
func (f *fences) follow(m *Message) {
	if parts(m) {
		f.publish(&Message{Node: f.native.self.ID})
	}
}

// parts reports whether m takes sockets away.
func parts(m *Message) bool { return m.Kind == Leave || m.Kind == Disconnect }

// fenceOf returns a fence of m.
func fenceOf(m *Message) *Message { return &Message{Kind: barrier, Node: m.Node, Number: m.Number} }

// activeLocked reports whether the fences of all lanes will arrive.
func (f *fences) activeLocked() bool {
	return !f.native.down.Load() && !slices.ContainsFunc(f.lanes, func(l Listening) bool { return !isClosed(l.Active()) })
}

// meet handles a fence.
func (f *fences) meet(lane int, data []byte) {
	m, err := decode(data)
	if err != nil || m.Kind != barrier {
		f.native.errors.Add(1)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Node == f.native.self.ID || !f.activeLocked() {
		return
	}
	f.native.received.Add(1)
	s := f.senders[m.Node]
	if s == nil {
		s = &fenced{}
		s.timer = time.AfterFunc(f.native.opts.MaxHold, func() { f.giveUp(m.Node, s) })
		f.senders[m.Node] = s
	}
	i, found := slices.BinarySearchFunc(s.fences, m.Number, func(e fence, n uint64) int { return cmp.Compare(e.number, n) })
	if !found {
		s.fences = slices.Insert(s.fences, i, fence{m.Number, map[int]bool{}})
	}
	s.fences[i].lanes[lane] = true
	if len(s.fences[i].lanes) == len(f.topics) {
		s.fences = slices.Delete(s.fences, i, i+1)
		if i == 0 { // else the first one still holds back everything, and its time goes on
			f.releaseLocked(m.Node, s)
		}
	}
}

// receive passes m on to Native.handle, at once or later.
func (f *fences) receive(m *Message) {
	if len(f.topics) == 0 {
		f.native.handle(m)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.senders[m.Node]
	if s == nil || m.Number < s.fences[0].number {
		f.native.handle(m)
		return
	}
	if s.held = append(s.held, m); len(s.held) > maxHeld {
		s.fences = nil
		f.releaseLocked(m.Node, s)
	}
}

// releaseLocked passes on what no fence holds back any longer.
func (f *fences) releaseLocked(from NodeID, s *fenced) {
	slices.SortStableFunc(s.held, func(a, b *Message) int { return cmp.Compare(a.Number, b.Number) })
	n := len(s.held)
	if len(s.fences) > 0 {
		s.timer.Reset(f.native.opts.MaxHold)
		n = slices.IndexFunc(s.held, func(m *Message) bool { return m.Number >= s.fences[0].number })
		if n < 0 {
			n = len(s.held)
		}
	} else {
		s.timer.Stop()
		delete(f.senders, from)
	}
	free := s.held[:n]
	s.held = slices.Clone(s.held[n:])
	for _, m := range free {
		f.native.handle(m)
	}
}

// down passes on everything: some fences will not arrive.
func (f *fences) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for from, s := range f.senders {
		s.fences = nil
		f.releaseLocked(from, s)
	}
}

// giveUp passes on everything of a sender: a lane has lost a fence, or delivers too late.
func (f *fences) giveUp(from NodeID, s *fenced) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.senders[from] == s {
		s.fences = nil
		f.releaseLocked(from, s)
	}
}
