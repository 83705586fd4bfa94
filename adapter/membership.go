package adapter

import (
	"encoding/json"
	"fmt"
	"time"
)

// peer is another server.
type peer struct {
	node    Node
	heard   time.Time
	dropped uint64
}

const (
	hello    = firstInternal + iota // asks all for a beat
	beat                            // says that a server is alive, and describes it
	bye                             // says that a server leaves
	refuse                          // refuses a server whose name or tag is taken
	say                             // tells something about the subject in Namespace
	question                        // asks something about it
	reply                           // answers question; None: nobody serves the subject
	barrier                         // a fence
)

// report is what hello and beat carry.
type report struct {
	Node
	Dropped uint64 `json:"dropped,omitempty"`
}

// announce publishes hello or beat to a topic.
func (n *Native) announce(k Kind, topic string) {
	r := report{Node: n.Self()}
	n.mu.Lock()
	r.Dropped = n.dropped
	if topic == "c" && n.probed.IsZero() {
		n.probed = time.Now()
	}
	n.mu.Unlock()
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	_ = n.publish(topic, &Message{Kind: k, Data: data})
}

// live says that the server is alive, and notices who is not.
func (n *Native) live() {
	defer close(n.stopped)
	for _, l := range n.listening { // whoever knows this server may answer it
		select {
		case <-l.Active():
		case <-n.done:
			return
		}
	}
	n.announce(hello, "c")
	tick := time.NewTicker(n.opts.Beat / 2)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-n.done:
			return
		case <-tick.C:
		}
		if i%2 == 0 && !n.isRefused() {
			n.announce(beat, "c")
		}
		n.check()
	}
}

// maxSilent bounds how many servers are remembered that were taken for dead.
const maxSilent = 1000

// check finds the servers that have died, and whether the bus has become deaf.
func (n *Native) check() {
	now := time.Now()
	n.mu.Lock()
	for id, p := range n.peers {
		if now.Sub(p.heard) > 3*n.opts.Beat {
			n.log.Warn("a server of the cluster is silent", "node", p.node.Name, "for", now.Sub(p.heard).Round(time.Second))
			n.dropLocked(id)
			if len(n.silent) >= maxSilent {
				clear(n.silent)
			}
			n.silent[id] = true
		}
	}
	deaf := !n.probed.IsZero() && now.Sub(n.probed) > 2*n.opts.Beat && !n.down.Load()
	if deaf {
		n.probed = time.Time{}
	}
	n.mu.Unlock()
	n.tell()
	for _, l := range n.allLinks() {
		l.interest.expire(now)
	}
	if !deaf {
		return
	}
	n.log.Warn("the bus no longer delivers; connecting again")
	if b, ok := n.bus.(Reconnecter); ok {
		b.Reconnect()
	}
}

// dropLocked forgets a server. The caller must call tell afterwards.
func (n *Native) dropLocked(id NodeID) {
	p := n.peers[id]
	if p == nil {
		return
	}
	delete(n.peers, id)
	n.newsLocked(Event{Left, p.node})
	for _, c := range n.calls {
		c.lose(id)
	}
}

// echo notes that our own beat has come back.
func (n *Native) echo() {
	n.mu.Lock()
	n.probed = time.Time{}
	first := !isClosed(n.ready)
	n.mu.Unlock()
	if first {
		// The others heard the hello before we did, or do so now: their answers are on the way.
		time.AfterFunc(settle, n.settled)
	}
}

// settle is how long a new server waits for the answers to its hello.
const settle = 100 * time.Millisecond

func (n *Native) settled() {
	n.mu.Lock()
	first := !isClosed(n.ready) && !n.closed
	if first {
		close(n.ready)
	}
	n.mu.Unlock()
	if first { // now it has its name
		n.announce(beat, "c")
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// meet handles a hello or beat.
func (n *Native) meet(m *Message) {
	var r report
	if json.Unmarshal(m.Data, &r) != nil {
		n.errors.Add(1)
		return
	}
	r.ID = m.Node
	if r.Name == n.self.Name || r.Tag == n.self.Tag {
		switch {
		case n.isRefused():
		case m.Kind == hello:
			_ = n.publish("n/"+m.Node.String(), &Message{Kind: refuse, Data: []byte(n.self.Name)})
		default:
			n.doubled(r)
		}
		return
	}
	n.mu.Lock()
	p, known := n.peers[m.Node]
	if !known {
		for id, other := range n.peers {
			if other.node.Name != r.Name {
				continue
			}
			if m.Kind == hello { // that one may refuse it; if not, a beat follows
				n.mu.Unlock()
				n.announce(beat, "n/"+m.Node.String())
				return
			}
			n.dropLocked(id) // it has restarted
		}
		p = &peer{heard: time.Now()}
		n.peers[m.Node] = p
	}
	lost := n.silent[m.Node] || known && r.Dropped != p.dropped
	delete(n.silent, m.Node)
	if !known {
		n.newsLocked(Event{Joined, r.Node})
	} else if r.Draining != p.node.Draining || r.Address != p.node.Address {
		n.newsLocked(Event{Changed, r.Node})
	}
	p.node, p.dropped = r.Node, r.Dropped
	n.mu.Unlock()
	n.tell()
	if !known {
		n.log.Info("a server of the cluster is there", "node", r.Name, "id", m.Node)
	}
	if lost {
		n.gap()
	}
	if m.Kind == hello {
		n.announce(beat, "n/"+m.Node.String())
	}
}

// doubled says once that another server is in the cluster although it has our name, or our tag. It came while the two
// did not hear each other.
func (n *Native) doubled(r report) {
	n.mu.Lock()
	known := n.double == r.ID || !isClosed(n.ready)
	if !known {
		n.double = r.ID
	}
	n.mu.Unlock()
	if !known {
		n.log.Error("another server of the cluster has the name or the tag of this one, and neither hears the other: stop one, and give it another name",
			"node", r.Name, "id", r.ID)
	}
}

// isRefused reports whether this server is not one of the cluster.
func (n *Native) isRefused() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refused != nil
}

// refusedBy handles the refusal of another server.
func (n *Native) refusedBy(m *Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if isClosed(n.ready) {
		return // it came after us
	}
	n.refused = fmt.Errorf("adapter: the name %q is taken by another server of the cluster: give each its own", n.self.Name)
	if taker := string(m.Data); taker != n.self.Name {
		n.refused = fmt.Errorf("adapter: the names %q and %q have the same tag %s: choose another one", n.self.Name, taker, n.self.Tag)
	}
	close(n.ready)
}
