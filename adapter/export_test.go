package adapter

// Careless makes a server break the rules that join-then-hear and join-then-emit rest on.
func (n *Native) Careless(noWait, noWiden bool) {
	n.careless.noWait, n.careless.noWiden = noWait, noWiden
}

// Unfenced makes a server send no fences.
func (n *Native) Unfenced() { n.careless.noFence = true }

// Receive delivers bytes as if they came from the bus.
func (n *Native) Receive(data []byte) { n.receive(data) }

func (m *Message) Encode() []byte       { return m.encode() }
func Decode(b []byte) (*Message, error) { return decode(b) }
func (n *Native) Topics(namespace string) int {
	n.mu.Lock()
	l := n.links[namespace]
	n.mu.Unlock()
	l.interest.mu.Lock()
	defer l.interest.mu.Unlock()
	return len(l.interest.topics)
}

const Settle = settle
