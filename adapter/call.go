package adapter

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
)

// call is a Call that waits for answers.
type call struct {
	native *Native

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

// call sends m to one server, or to all others if to is nil, and calls each for each answer.
func (n *Native) call(ctx context.Context, to *NodeID, m *Message, each func(*Answer)) error {
	for _, heard := range n.listening { // or the answers would be lost
		select {
		case <-heard.Active():
		case <-n.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c := &call{native: n, owing: map[NodeID]*debt{}, news: make(chan struct{}, 1)}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return ErrClosed
	}
	for id, p := range n.peers {
		if to == nil || id == *to {
			c.owing[id] = &debt{name: p.node.Name}
		}
	}
	if len(c.owing) == 0 {
		n.mu.Unlock()
		if to != nil {
			return ErrNoNode
		}
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

	m.Request, m.Number = id, 0
	switch m.Kind {
	case Broadcast, Join, Leave, Disconnect, ServerEvent, question:
		n.fences.publish(m)
	}
	topic := "c"
	if to != nil {
		topic = "n/" + to.String()
	}
	err := n.publish(topic, m)
	n.fences.follow(m)
	if err != nil {
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
	c.native.unanswered.Add(1)
	slices.Sort(missing)
	return &Partial{Missing: missing, Cause: cause}
}

func (c *call) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// lose notes that a server has died, or cannot answer.
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
	a := &Answer{Node: m.Node, Kind: m.Kind, more: m.Flags&More != 0}
	var err error
	switch m.Kind {
	case Sockets, Done, ClientCount:
		if m.Flags&None != 0 { // it was too large for the bus
			c.lose(m.Node)
			return
		}
	}
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
