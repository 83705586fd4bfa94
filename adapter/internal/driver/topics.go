package driver

import "slices"

// MaxChange is how many topics are subscribed, or unsubscribed, together.
const MaxChange = 512

// topic is one that is subscribed, or is going to be.
type topic[T comparable] struct {
	listeners []*Listening[T]
	active    chan struct{} // closed when it is subscribed
	heard     bool          // it is subscribed, on the current connection
}

// Listening implements adapter.Listening.
type Listening[T comparable] struct {
	core    *Core[T]
	topic   T
	deliver func(name string, data []byte)
	active  <-chan struct{}
	closed  bool // guarded by core.mu
}

// Listen calls deliver with what is published to a topic, and with the name that Deliver gets. It makes
// one call at a time.
func (c *Core[T]) Listen(to T, deliver func(name string, data []byte)) *Listening[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[to]
	if t == nil {
		t = &topic[T]{active: make(chan struct{})}
		c.topics[to] = t
	}
	l := &Listening[T]{core: c, topic: to, deliver: deliver, active: t.active}
	t.listeners = append(slices.Clip(t.listeners), l)
	c.stirLocked(to)
	return l
}

// Active implements adapter.Listening.
func (l *Listening[T]) Active() <-chan struct{} { return l.active }

// Close implements adapter.Listening.
func (l *Listening[T]) Close() {
	c := l.core
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	t := c.topics[l.topic]
	t.listeners = slices.DeleteFunc(slices.Clone(t.listeners), func(other *Listening[T]) bool { return other == l })
	if len(t.listeners) == 0 && !t.heard { // without a connection, nobody would call Change
		delete(c.topics, l.topic)
		delete(c.dirty, l.topic)
		return
	}
	c.stirLocked(l.topic)
}

// stirLocked makes the driver look at a topic.
func (c *Core[T]) stirLocked(to T) {
	c.dirty[to] = struct{}{}
	signal(c.stirred)
}

// Stirred yields a value when Change has something to return.
func (c *Core[T]) Stirred() <-chan struct{} { return c.stirred }

// Renew makes Change return everything that is listened to, for a new connection.
func (c *Core[T]) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = make(map[T]struct{}, len(c.topics))
	for to, t := range c.topics {
		t.heard = false
		c.dirty[to] = struct{}{}
	}
	signal(c.stirred)
}

// Change returns what has to be subscribed and unsubscribed on the current connection. Whoever calls it
// does that, or ends the connection.
func (c *Core[T]) Change() (add, remove []T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for to := range c.dirty {
		if len(add) == MaxChange || len(remove) == MaxChange {
			break
		}
		delete(c.dirty, to)
		switch t := c.topics[to]; {
		case len(t.listeners) > 0 && !t.heard:
			t.heard = true
			add = append(add, to)
		case len(t.listeners) == 0:
			delete(c.topics, to)
			if t.heard {
				remove = append(remove, to)
			}
		}
	}
	if len(c.dirty) == 0 {
		c.dirty = map[T]struct{}{} // a map keeps the memory of what was in it
	} else {
		signal(c.stirred)
	}
	return add, remove
}

// Activate says that topics which Change has returned are subscribed. It returns whether all are.
func (c *Core[T]) Activate(added []T) (complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, to := range added {
		active := c.topics[to].active // it is there: only Change removes it
		select {
		case <-active:
		default:
			close(active)
		}
	}
	return len(c.dirty) == 0
}

// Listens reports whether somebody listens to a topic.
func (c *Core[T]) Listens(to T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[to]
	return t != nil && len(t.listeners) > 0
}

// Heard reports whether a topic is subscribed on the current connection, or is going to be.
func (c *Core[T]) Heard(to T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[to]
	return t != nil && t.heard
}

// Deliver passes a message to those who listen to a topic. They may keep data. The result says whether
// there are any.
func (c *Core[T]) Deliver(to T, name string, data []byte) bool {
	c.mu.Lock()
	var listeners []*Listening[T]
	if t := c.topics[to]; t != nil && !c.closed {
		listeners = t.listeners // not changed in place
	}
	c.mu.Unlock()
	if len(listeners) == 0 {
		return false
	}
	c.calls.Lock()
	defer c.calls.Unlock()
	for _, l := range listeners {
		l.deliver(name, data)
	}
	return true
}
