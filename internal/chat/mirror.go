package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
)

// A mirror shows each server what all of them have of something: the members of a room, operators, or
// visitors. Each server is the authority on its own part, a map, and tells the others of its changes:
//
//	change    number n follows number a: these keys have changed
//	          a = 0: there was nothing before
//	digest    number n, every 10 s if there were changes
//	whole     number n: this is all; the answer to a question
//
// Numbers rise, in all mirrors of a server together. Whoever knows a part up to a, takes a change that
// follows a. Otherwise it has missed something, or it is new, and it asks for the whole. A part goes with its server.
//
// A lock of whoever owns the mirror guards it. The nil mirror is that of a service that is alone.
type mirror struct {
	cluster *cluster
	name    string // and the subject
	lock    sync.Locker
	// changed is told of each change on another server, with the lock. Nil: gone.
	changed func(on adapter.NodeID, key string, value json.RawMessage)

	own       map[string]json.RawMessage
	number    uint64
	parts     map[adapter.NodeID]*part
	listening adapter.Listening
	awaited   map[adapter.NodeID]bool // servers that have not said yet what they have
	ready     chan struct{}           // closed when all have, or firstAnswers have passed
	closed    bool
	over      chan struct{} // closed with it
}

// A part is what another server has.
type part struct {
	number uint64
	keys   map[string]bool
}

// firstAnswers is how long others have to say what they have, for whoever opens a mirror.
const firstAnswers = 150 * time.Millisecond

// An update is what a server says of its part of a mirror.
type update struct {
	After  uint64                     `json:"after,omitempty"`
	Number uint64                     `json:"number"`
	Set    map[string]json.RawMessage `json:"set,omitempty"` // null: gone
}

// A saying is what a server says about the subject of a mirror.
type saying struct {
	Update *update     `json:"update,omitempty"`
	Typing *typingWord `json:"typing,omitempty"`
	Read   *readWord   `json:"read,omitempty"`
}

// mirror opens a mirror. hear is called with everything else that is said about it; nil: nothing is.
func (c *cluster) mirror(name string, lock sync.Locker, changed func(adapter.NodeID, string, json.RawMessage), hear func(adapter.NodeID, *saying)) *mirror {
	m := &mirror{
		cluster: c, name: name, lock: lock, changed: changed, own: make(map[string]json.RawMessage),
		parts: make(map[adapter.NodeID]*part), awaited: make(map[adapter.NodeID]bool), ready: make(chan struct{}), over: make(chan struct{}),
	}
	c.mu.Lock()
	c.mirrors[name] = m
	for id := range c.servers {
		m.awaited[id] = true
	}
	c.mu.Unlock()
	m.listening = c.Hear(name, func(from adapter.Node, data []byte) {
		var s saying
		switch {
		case json.Unmarshal(data, &s) != nil:
		case s.Update != nil:
			m.lock.Lock()
			defer m.lock.Unlock()
			m.hearLocked(from.ID, s.Update)
		case hear != nil:
			hear(from.ID, &s)
		}
	})
	if len(m.awaited) == 0 {
		close(m.ready)
	} else {
		time.AfterFunc(firstAnswers, func() {
			m.lock.Lock()
			defer m.lock.Unlock()
			clear(m.awaited)
			m.settleLocked()
		})
	}
	go m.askFirst()
	return m
}

// askFirst asks all other servers what they have, once their changes are heard.
func (m *mirror) askFirst() {
	select {
	case <-m.listening.Active():
	case <-m.over:
		return
	}
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.servers {
		c.wantLocked(id, m.name)
	}
}

// settleLocked closes ready if nobody is awaited.
func (m *mirror) settleLocked() {
	if len(m.awaited) > 0 {
		return
	}
	select {
	case <-m.ready:
	default:
		close(m.ready)
	}
}

// setLocked changes this server's own part. Nil removes a key.
func (m *mirror) setLocked(key string, value any) {
	if m == nil || m.closed {
		return
	}
	u := update{Set: make(map[string]json.RawMessage, 1)}
	if len(m.own) > 0 {
		u.After = m.number
	}
	was, had := m.own[key]
	if value == nil {
		if !had {
			return
		}
		delete(m.own, key)
		u.Set[key] = json.RawMessage("null")
	} else {
		is, _ := json.Marshal(value) // can always be encoded
		if bytes.Equal(was, is) {
			return
		}
		m.own[key], u.Set[key] = is, is
	}
	m.number = m.cluster.number.Add(1)
	u.Number = m.number
	m.cluster.send(m.name, saying{Update: &u})
	m.cluster.digestLater(m)
}

// hearLocked takes in what another server says of its part.
func (m *mirror) hearLocked(from adapter.NodeID, u *update) {
	p := m.parts[from]
	known := uint64(0)
	if p != nil {
		known = p.number
	}
	switch {
	case m.closed || u.Number <= known:
	case u.After == 0:
		m.replaceLocked(from, u)
	case u.After == known:
		m.takeLocked(from, p, u)
	default:
		m.cluster.want(from, m.name)
	}
}

// replaceLocked makes u all that another server has.
func (m *mirror) replaceLocked(from adapter.NodeID, u *update) {
	p := m.parts[from]
	if p == nil {
		p = &part{keys: make(map[string]bool)}
		m.parts[from] = p
	}
	for key := range p.keys {
		if _, is := u.Set[key]; !is {
			delete(p.keys, key)
			m.changed(from, key, nil)
		}
	}
	m.takeLocked(from, p, u)
}

func (m *mirror) takeLocked(from adapter.NodeID, p *part, u *update) {
	p.number = u.Number
	for key, value := range u.Set {
		if string(value) == "null" {
			delete(p.keys, key)
			m.changed(from, key, nil)
		} else {
			p.keys[key] = true
			m.changed(from, key, value)
		}
	}
}

// drop forgets the part of a server that has left.
func (m *mirror) drop(server adapter.NodeID) {
	m.lock.Lock()
	defer m.lock.Unlock()
	delete(m.awaited, server)
	m.settleLocked()
	p := m.parts[server]
	if p == nil || m.closed {
		return
	}
	delete(m.parts, server)
	for key := range p.keys {
		m.changed(server, key, nil)
	}
}

// closeLocked ends the mirror. This server has nothing any more.
func (m *mirror) closeLocked() {
	m.closed = true
	close(m.over)
	clear(m.awaited)
	m.settleLocked()
	m.listening.Close()
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mirrors[m.name] == m {
		delete(c.mirrors, m.name)
	}
}

// digestLater makes the next digest one of m, too.
func (c *cluster) digestLater(m *mirror) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = put(c.changed, m, true)
	if !c.digests {
		c.digests = true
		time.AfterFunc(digestEvery, c.digest)
	}
}

// digest says how far the mirrors are that have changed, so that whoever has missed a change asks.
func (c *cluster) digest() {
	c.mu.Lock()
	changed := c.changed
	c.changed, c.digests = nil, false
	c.mu.Unlock()
	for m := range changed {
		m.lock.Lock()
		u := update{After: m.number, Number: m.number}
		if len(m.own) == 0 {
			u.After = 0
		}
		m.lock.Unlock()
		c.send(m.name, saying{Update: &u})
	}
}

// want has a server asked what it has.
func (c *cluster) want(of adapter.NodeID, names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wantLocked(of, names...)
}

func (c *cluster) wantLocked(of adapter.NodeID, names ...string) {
	s := c.servers[of]
	if s == nil {
		return // it has left
	}
	for _, name := range names {
		s.wanted[name] = true
	}
	if !s.asking && len(s.wanted) > 0 {
		s.asking = true
		go c.ask(of, s)
	}
}

// wholes is the answer of a server.
type wholes struct {
	Number uint64            `json:"number"` // its latest one; of what it does not have, the answer is as of then
	Of     map[string]update `json:"of"`
}

// ask asks a server, question after question, until nothing is wanted.
func (c *cluster) ask(of adapter.NodeID, s *server) {
	for {
		c.mu.Lock()
		var names []string
		for name := range s.wanted {
			if delete(s.wanted, name); c.mirrors[name] != nil {
				names = append(names, name)
			}
			if len(names) == maxAsked {
				break
			}
		}
		if s.asking = len(names) > 0; !s.asking {
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		question, _ := json.Marshal(names)
		ctx, cancel := context.WithTimeout(context.Background(), askWithin)
		data, err := c.Ask(ctx, of, chatSubject, question)
		cancel()
		var answer wholes
		switch {
		case err == nil && json.Unmarshal(data, &answer) == nil:
		case errors.Is(err, adapter.ErrNoNode): // it has left, or has no conversations
		case errors.Is(err, adapter.ErrClosed):
			return
		default:
			time.AfterFunc(askAgain, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				if s.asking = false; c.servers[of] == s {
					c.wantLocked(of, names...)
				}
			})
			return
		}
		for _, name := range names {
			c.answered(of, name, &answer)
		}
	}
}

// answered takes in what a server has said of a mirror.
func (c *cluster) answered(from adapter.NodeID, name string, answer *wholes) {
	c.mu.Lock()
	m, there := c.mirrors[name], c.servers[from] != nil
	c.mu.Unlock()
	if m == nil || !there {
		return
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	delete(m.awaited, from)
	u, has := answer.Of[name]
	if !has {
		u.Number = answer.Number
	}
	if m.hearWholeLocked(from, &u); !m.closed {
		m.settleLocked()
	}
}

// hearWholeLocked is hearLocked for an answer.
func (m *mirror) hearWholeLocked(from adapter.NodeID, u *update) {
	if u.After = 0; u.Number > 0 {
		m.hearLocked(from, u)
	}
}

// answer answers another server.
func (c *cluster) answer(_ adapter.Node, question []byte, reply func([]byte)) {
	var names []string
	if json.Unmarshal(question, &names) != nil {
		reply(nil)
		return
	}
	go func() {
		answer := wholes{Number: c.number.Load(), Of: make(map[string]update, len(names))}
		for _, name := range names {
			c.mu.Lock()
			m := c.mirrors[name]
			c.mu.Unlock()
			if m == nil {
				continue
			}
			m.lock.Lock()
			if len(m.own) > 0 {
				answer.Of[name] = update{Number: m.number, Set: maps.Clone(m.own)}
			}
			m.lock.Unlock()
		}
		data, _ := json.Marshal(answer)
		reply(data)
	}()
}
