package adapter

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

// link is a namespace's Link over Native.
type link struct {
	native *Native
	name   string
	topics
	local    Local
	interest interest
	heard    Listening
}

// Open implements Cluster.
func (n *Native) Open(namespace string, local Local) Link {
	l := &link{native: n, name: namespace, topics: topicsOf(n.bus, namespace), local: local}
	l.careless = n.careless.noWiden
	l.interest = interest{link: l, topics: map[string]*topic{}}
	n.mu.Lock()
	n.links[namespace] = l
	n.mu.Unlock()
	l.heard = n.bus.Listen(l.all, n.receive)
	return l
}

// Close implements Link.
func (l *link) Close() {
	n := l.native
	n.mu.Lock()
	if n.links[l.name] == l {
		delete(n.links, l.name)
	}
	n.mu.Unlock()
	l.heard.Close()
	l.interest.close()
}

// Ready implements Link.
func (l *link) Ready() <-chan struct{} {
	return l.native.awaited(l.heard)
}

// awaited returns what a new member has to wait for before it hears a topic.
func (n *Native) awaited(l Listening) <-chan struct{} {
	if active := l.Active(); !n.down.Load() && !isClosed(active) && !n.careless.noWait {
		return active
	}
	return nil
}

// Touch implements Link.
func (l *link) Touch(room string) <-chan struct{} { return l.interest.touch(room) }

// Publish implements Link.
func (l *link) Publish(m *Message) error {
	m.Namespace, m.Request = l.name, 0
	if m.Node != l.native.self.ID { // else Number has numbered it
		m.Number = 0
	}
	if m.Flags&Volatile != 0 && l.native.down.Load() {
		return nil // nobody could receive it at once
	}
	topic, fenced := l.destination(m)
	if fenced {
		l.native.fences.publish(m)
		defer l.native.fences.follow(m)
	}
	return l.native.publish(topic, m)
}

// Call implements Link.
func (l *link) Call(ctx context.Context, m *Message, each func(*Answer)) error {
	m.Namespace = l.name
	if deadline, ok := ctx.Deadline(); ok && m.Timeout == 0 {
		m.Timeout = max(time.Millisecond, time.Until(deadline))
	}
	if m.Kind == Join {
		l.joined.Add(m.Targets)
	}
	return l.native.call(ctx, nil, m, each)
}

// perform does what another server asks for. l is nil if this server does not have the namespace.
func (n *Native) perform(l *link, m *Message) {
	reply := func(a *Message) { n.reply(m, a) }
	done := func(k Kind, r result) {
		data, err := json.Marshal(r)
		if err != nil {
			panic(err) // strings and numbers
		}
		reply(&Message{Kind: k, Data: data})
	}
	if l == nil {
		switch {
		case m.Request == 0:
		case m.Kind == Broadcast:
			done(ClientCount, result{})
		case m.Kind == ServerEvent:
			reply(&Message{Kind: ServerAnswer, Flags: None})
		case m.Kind == Fetch:
			reply(&Message{Kind: Sockets, Data: []byte("[]")})
		default:
			done(Done, result{})
		}
		return
	}
	switch m.Kind {
	case Broadcast:
		if m.Request == 0 {
			l.local.Deliver(m)
			return
		}
		l.local.DeliverAck(m, func(count int) { done(ClientCount, result{Count: count}) }, func(data []byte, attachments [][]byte) {
			a := &Message{Kind: ClientAnswer, Data: data, Attachments: attachments}
			if data == nil {
				a.Flags = None
			}
			reply(a)
		})
	case Join, Leave, Disconnect:
		refused := l.local.Change(m)
		if m.Request != 0 {
			done(Done, result{Refused: refused})
		}
	case Fetch:
		n.describe(l, m, reply)
	case Count:
		done(Done, result{Count: l.local.Count(m.Selection)})
	case RoomSizes:
		n.describeRooms(l, m, reply)
	case ServerEvent:
		answer := func([]byte, [][]byte) {}
		if m.Request != 0 {
			var once sync.Once
			answer = func(data []byte, attachments [][]byte) {
				once.Do(func() { reply(&Message{Kind: ServerAnswer, Data: data, Attachments: attachments}) })
			}
		}
		if !l.local.Event(m, answer) && m.Request != 0 {
			reply(&Message{Kind: ServerAnswer, Flags: None})
		}
	}
}

// reply sends an answer to whoever sent m.
func (n *Native) reply(m, a *Message) {
	a.Namespace, a.Request = m.Namespace, m.Request
	topic := "n/" + m.Node.String()
	if n.publish(topic, a) == ErrTooLarge { // do not let the other one wait
		a.Flags, a.Number, a.Data, a.Attachments = a.Flags|None, 0, nil, nil
		_ = n.publish(topic, a)
	}
}

// part is about how many bytes the parts of a long answer have, so that the bus can carry them.
func (n *Native) part() int { return max(1<<10, min(1<<20, n.bus.Caps().MaxMessage*3/4)) }

// describeRooms answers RoomSizes.
func (n *Native) describeRooms(l *link, m *Message, reply func(*Message)) {
	most, size, rooms := n.part(), 0, map[string]int{}
	say := func(more Flags) {
		data, err := json.Marshal(result{Rooms: rooms})
		if err != nil {
			panic(err) // strings and numbers
		}
		reply(&Message{Kind: Done, Flags: more, Data: data})
	}
	for room, count := range l.local.RoomSizes(m.Selection) {
		one := 24 + 6*len(room) // at most, as JSON
		if size > 0 && size+one > most {
			say(More)
			size = 0
			clear(rooms)
		}
		rooms[room] = count
		size += one
	}
	say(0)
}

// describe answers Fetch.
func (n *Native) describe(l *link, m *Message, reply func(*Message)) {
	most := n.part()
	data := []byte{'['}
	for _, info := range l.local.Fetch(m.Selection) {
		one, err := json.Marshal(info)
		if err != nil {
			n.errors.Add(1)
			continue
		}
		if len(data) > 1 && len(data)+len(one) > most {
			reply(&Message{Kind: Sockets, Flags: More, Data: append(data, ']')})
			data = []byte{'['}
		}
		if len(data) > 1 {
			data = append(data, ',')
		}
		data = append(data, one...)
	}
	reply(&Message{Kind: Sockets, Data: append(data, ']')})
}
