package adapter

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// link is a namespace's Link over Native.
type link struct {
	native   *Native
	name     string
	prefix   string // of the topics of rooms
	all      string // the topic for all sockets
	local    Local
	interest interest
	heard    Listening

	mu    sync.Mutex
	wide  map[string]time.Time // rooms that other servers' sockets have just joined because of us
	sweep time.Time
}

// widenTime is how long events for rooms go to all servers, after this server has made sockets join
// these rooms: the servers may not listen yet.
const widenTime = 3 * time.Second

// Open implements Cluster.
func (n *Native) Open(namespace string, local Local) Link {
	path := url.PathEscape(strings.TrimPrefix(namespace, "/"))
	l := &link{native: n, name: namespace, prefix: "r/" + path + "/", all: "a/" + path, local: local}
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
	m.Namespace, m.Request, m.Number = l.name, 0, 0
	if m.Flags&Volatile != 0 && l.native.down.Load() {
		return nil // nobody could receive it at once
	}
	if m.Kind == Join {
		l.widen(m.Targets)
	}
	topic := l.all
	if m.Kind == Broadcast && len(m.Rooms) == 1 && !l.isWide(m.Rooms[0]) {
		topic = l.topic(m.Rooms[0])
	}
	return l.native.publish(topic, m)
}

func (l *link) widen(rooms []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wide == nil {
		l.wide = map[string]time.Time{}
	}
	now := time.Now()
	if now.After(l.sweep) {
		l.sweep = now.Add(widenTime)
		for room, until := range l.wide {
			if now.After(until) {
				delete(l.wide, room)
			}
		}
	}
	for _, room := range rooms {
		l.wide[room] = now.Add(widenTime)
	}
}

func (l *link) isWide(room string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, wide := l.wide[room]
	return wide && !l.native.careless.noWiden && time.Now().Before(until)
}

// call is a Call that waits for answers.
type call struct {
	mu      sync.Mutex
	owing   map[NodeID]*debt // the servers that have not answered completely
	missing []string         // the names of those that have died
	answers []*Answer
	ended   bool
	news    chan struct{} // holds one element if there is something new
}

// debt is what a server still owes.
type debt struct {
	name    string
	counted bool
	acks    int // may be negative until it is counted
}

// Call implements Link.
func (l *link) Call(ctx context.Context, m *Message, each func(*Answer)) error {
	n := l.native
	for _, heard := range n.listening { // or the answers would be lost
		select {
		case <-heard.Active():
		case <-n.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c := &call{owing: map[NodeID]*debt{}, news: make(chan struct{}, 1)}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return ErrClosed
	}
	for id, p := range n.peers {
		c.owing[id] = &debt{name: p.node.Name}
	}
	if len(c.owing) == 0 {
		n.mu.Unlock()
		return nil
	}
	n.lastCall++
	id := n.lastCall
	n.calls[id] = c
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.calls, id)
	}()

	m.Namespace, m.Request, m.Number = l.name, id, 0
	if deadline, ok := ctx.Deadline(); ok && m.Timeout == 0 {
		m.Timeout = max(time.Millisecond, time.Until(deadline))
	}
	if m.Kind == Join {
		l.widen(m.Targets)
	}
	if err := n.publish("c", m); err != nil {
		return err
	}
	for {
		answers, finished := c.take()
		for _, a := range answers {
			each(a)
		}
		if finished {
			return c.verdict(nil)
		}
		select {
		case <-c.news:
		case <-ctx.Done():
			answers, _ := c.take()
			for _, a := range answers {
				each(a)
			}
			return c.verdict(ctx.Err())
		}
	}
}

// take returns the answers that have arrived. finished is true if no others will.
func (c *call) take() (answers []*Answer, finished bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers, c.answers = c.answers, nil
	return answers, len(c.owing) == 0 || c.ended
}

func (c *call) verdict(cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	missing := c.missing
	for _, d := range c.owing {
		missing = append(missing, d.name)
	}
	if len(missing) == 0 {
		return nil
	}
	if c.ended && cause == nil {
		cause = ErrClosed
	}
	slices.Sort(missing)
	return &Partial{Missing: missing, Cause: cause}
}

func (c *call) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// lose notes that a server has died.
func (c *call) lose(id NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.owing[id]; d != nil {
		c.missing = append(c.missing, d.name)
		delete(c.owing, id)
		c.tell()
	}
}

// end ends the call because the cluster closes.
func (c *call) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.tell()
}

// result is the Data of Done.
type result struct {
	Count   int            `json:"count,omitempty"`
	Rooms   map[string]int `json:"rooms,omitempty"`
	Refused int            `json:"refused,omitempty"`
}

// answered handles an answer to one of our calls.
func (n *Native) answered(m *Message) {
	n.mu.Lock()
	c := n.calls[m.Request]
	n.mu.Unlock()
	if c == nil {
		return // too late
	}
	a := &Answer{Node: m.Node, Kind: m.Kind}
	var err error
	switch m.Kind {
	case Sockets:
		err = json.Unmarshal(m.Data, &a.Sockets)
	case Done, ClientCount:
		var r result
		err = json.Unmarshal(m.Data, &r)
		a.Count, a.Rooms, a.Refused = r.Count, r.Rooms, r.Refused
	default:
		a.Data, a.Attachments = m.Data, m.Attachments
	}
	if err != nil {
		n.errors.Add(1)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.owing[m.Node]
	if d == nil {
		return // it is dead to us, or has answered already
	}
	a.Name = d.name
	switch m.Kind {
	case ClientCount:
		d.counted = true
		d.acks += a.Count
	case ClientAnswer:
		d.acks--
	default:
		d.counted = m.Flags&More == 0
	}
	if m.Kind != ClientCount && m.Flags&None == 0 {
		c.answers = append(c.answers, a)
	}
	if d.counted && d.acks == 0 {
		delete(c.owing, m.Node)
	}
	c.tell()
}

// perform does what another server asks for. l is nil if this server does not have the namespace.
func (n *Native) perform(l *link, m *Message) {
	reply := func(a *Message) {
		a.Namespace, a.Request = m.Namespace, m.Request
		if n.publish("n/"+m.Node.String(), a) == ErrTooLarge { // do not let the other one wait
			a.Flags, a.Number, a.Data, a.Attachments = a.Flags|None, 0, nil, nil
			_ = n.publish("n/"+m.Node.String(), a)
		}
	}
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
		done(Done, result{Rooms: l.local.RoomSizes(m.Selection)})
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

// describe answers Fetch, in messages that the bus can carry.
func (n *Native) describe(l *link, m *Message, reply func(*Message)) {
	most := min(1<<20, n.bus.Caps().MaxMessage*3/4)
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
