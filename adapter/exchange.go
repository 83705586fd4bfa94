package adapter

import (
	"context"
	"slices"
	"sync"
)

// Exchange is what servers say to each other beside what concerns sockets. A subject is any string;
// who sends and who hears agree on what it means. An Exchange is safe for concurrent use.
type Exchange interface {
	// Self describes this server, and Nodes all servers that are known to be alive, this one first.
	Self() Node
	Nodes() []Node

	// Tagged returns the other server with this tag, if it is alive.
	Tagged(tag string) (Node, bool)

	// Send passes data to the other servers that hear the subject, at most once and in order. It does
	// not wait. The errors are those of Link.Publish. It keeps nothing of data.
	Send(subject string, data []byte) error

	// Hear calls f with what other servers send. The same goroutine receives everything, so f must
	// not block. It may keep data but must not change them. It is not called for servers that are not
	// known yet: their first beat brings Joined.
	Hear(subject string, f func(from Node, data []byte)) Listening

	// Serve answers questions about a subject from now on, instead of what has answered them before.
	// f must not block; it may call reply later, from any goroutine. Only the first call counts.
	Serve(subject string, f func(from Node, question []byte, reply func(answer []byte)))

	// Ask asks one server. The error is ErrNoNode if that is not in the cluster, leaves it meanwhile,
	// or does not serve the subject; a *Partial with ctx's error if it does not answer; or one of
	// Link.Publish.
	// The question arrives after everything that this server has sent before, events too, and the answer
	// after everything that the other one has sent. The answer may be larger than a message of the bus.
	Ask(ctx context.Context, to NodeID, subject string, question []byte) (answer []byte, err error)

	// AskAll asks all others that serve the subject. It calls each for each answer, one after the
	// other. If some have not answered, the error is a *Partial.
	AskAll(ctx context.Context, subject string, question []byte, each func(from Node, answer []byte)) error

	// Observe calls f with what happens in the cluster, one event at a time and in order, beginning
	// with Joined for each server that is there. f must not block.
	Observe(f func(Event)) (stop func())
}

// Event is something that happens in a cluster.
type Event struct {
	Kind EventKind
	Node Node // the server that it is about; not with Gap
}

// EventKind says what an Event is.
type EventKind uint8

const (
	Joined  EventKind = iota + 1 // a server is there
	Changed                      // it drains, or has another address
	Left                         // it has left, or is taken for dead
	Gap                          // messages of other servers may have been lost
)

// subject is what somebody here hears about.
type subject struct {
	heard   Listening
	hearers []*hearer
}

// hearer is what Hear returns.
type hearer struct {
	Listening // shared by all hearers of the subject
	f         func(Node, []byte)
	close     func()
}

// Close implements Listening.
func (h *hearer) Close() { h.close() }

// Send implements Exchange.
func (n *Native) Send(about string, data []byte) error {
	return n.publish("x/"+about, &Message{Kind: say, Namespace: about, Data: data})
}

// Hear implements Exchange.
func (n *Native) Hear(about string, f func(from Node, data []byte)) Listening {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.subjects[about]
	if s == nil {
		s = &subject{heard: n.bus.Listen("x/"+about, n.receive)}
		n.subjects[about] = s
	}
	h := &hearer{Listening: s.heard, f: f}
	h.close = sync.OnceFunc(func() { n.unhear(about, s, h) })
	s.hearers = append(slices.Clip(s.hearers), h)
	return h
}

func (n *Native) unhear(about string, s *subject, h *hearer) {
	n.mu.Lock()
	s.hearers = slices.DeleteFunc(slices.Clone(s.hearers), func(other *hearer) bool { return other == h })
	last := len(s.hearers) == 0
	if last {
		delete(n.subjects, about)
	}
	n.mu.Unlock()
	if last {
		s.heard.Close()
	}
}

// hear handles what another server says.
func (n *Native) hear(m *Message) {
	n.mu.Lock()
	from := n.peers[m.Node]
	var node Node
	var hearers []*hearer
	if s := n.subjects[m.Namespace]; s != nil && from != nil {
		node, hearers = from.node, s.hearers
	}
	n.mu.Unlock()
	for _, h := range hearers {
		h.f(node, m.Data)
	}
}

// Serve implements Exchange.
func (n *Native) Serve(about string, f func(from Node, question []byte, reply func(answer []byte))) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.serving[about] = f
}

// answer handles a question of another server.
func (n *Native) answer(m *Message) {
	n.mu.Lock()
	f := n.serving[m.Namespace]
	from := Node{ID: m.Node}
	if p := n.peers[m.Node]; p != nil {
		from = p.node
	}
	n.mu.Unlock()
	if f == nil {
		n.reply(m, &Message{Kind: reply, Flags: None})
		return
	}
	var once sync.Once
	f(from, m.Data, func(answer []byte) {
		once.Do(func() {
			most := n.part()
			a := &Message{Kind: reply}
			n.fences.publish(a)
			for ; len(answer) > most; a = (&Message{Kind: reply}) {
				a.Flags, a.Data, answer = More, answer[:most], answer[most:]
				n.reply(m, a)
			}
			a.Data = answer
			n.reply(m, a)
		})
	})
}

// Ask implements Exchange.
func (n *Native) Ask(ctx context.Context, to NodeID, about string, data []byte) (answer []byte, err error) {
	answered := false
	err = n.call(ctx, &to, &Message{Kind: question, Namespace: about, Data: data}, func(a *Answer) {
		answer, answered = append(answer, a.Data...), true
	})
	if partial, ok := err.(*Partial); ok && partial.Cause == nil || err == nil && !answered {
		err = ErrNoNode
	}
	if err != nil {
		return nil, err // a part of it may be there
	}
	return answer, nil
}

// AskAll implements Exchange.
func (n *Native) AskAll(ctx context.Context, about string, data []byte, each func(from Node, answer []byte)) error {
	parts := map[NodeID][]byte{}
	return n.call(ctx, nil, &Message{Kind: question, Namespace: about, Data: data}, func(a *Answer) {
		parts[a.Node] = append(parts[a.Node], a.Data...)
		if a.more {
			return
		}
		n.mu.Lock()
		from := Node{ID: a.Node, Name: a.Name}
		if p := n.peers[a.Node]; p != nil {
			from = p.node
		}
		n.mu.Unlock()
		each(from, parts[a.Node])
		delete(parts, a.Node)
	})
}

// Tagged implements Exchange.
func (n *Native) Tagged(tag string) (Node, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.node.Tag == tag {
			return p.node, true
		}
	}
	return Node{}, false
}

// observer is somebody who wants to know what happens.
type observer struct{ f func(Event) }

// newsItem is an event that the observers do not know yet.
type newsItem struct {
	event Event
	only  *observer // nil: for all
}

// Observe implements Exchange.
func (n *Native) Observe(f func(Event)) (stop func()) {
	o := &observer{f}
	n.mu.Lock()
	n.observers = append(slices.Clip(n.observers), o)
	for _, p := range n.peers {
		n.news = append(n.news, newsItem{Event{Joined, p.node}, o})
	}
	n.mu.Unlock()
	n.tell()
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.observers = slices.DeleteFunc(slices.Clone(n.observers), func(other *observer) bool { return other == o })
	}
}

// newsLocked notes an event. The caller must call tell after it has unlocked.
func (n *Native) newsLocked(e Event) {
	if len(n.observers) > 0 {
		n.news = append(n.news, newsItem{event: e})
	}
}

// tell passes the news on. If another goroutine does so already, that passes on these too.
func (n *Native) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.telling {
		return
	}
	n.telling = true
	for len(n.news) > 0 {
		item := n.news[0]
		n.news = n.news[1:]
		for _, o := range n.observers {
			if item.only == nil || item.only == o {
				n.mu.Unlock()
				o.f(item.event)
				n.mu.Lock()
			}
		}
	}
	n.telling, n.news = false, nil
}
