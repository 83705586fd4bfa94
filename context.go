package parley

import (
	"context"
	"slices"
	"time"
)

// Context returns a context that ends when the socket disconnects. It is derived from the context
// that Options.ConnContext returned, and carries the values of keys (see Key).
func (s *Socket) Context() context.Context { return (*socketContext)(s) }

// socketContext is a Socket used as a context. It costs nothing until someone waits for it.
type socketContext Socket

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (c *socketContext) Deadline() (time.Time, bool) { return c.conn.parent().Deadline() }
func (c *socketContext) Value(key any) any           { return (*Socket)(c).Value(key) }

func (c *socketContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.done != nil:
	case c.state == disconnected:
		c.done = closedChan
	default:
		c.done = make(chan struct{})
	}
	return c.done
}

func (c *socketContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == disconnected {
		return context.Canceled
	}
	return nil
}

// AfterFunc lets package context call f without a waiting goroutine.
func (c *socketContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == disconnected {
		go f()
		return func() bool { return false }
	}
	entry := &f
	c.after = append(c.after, entry)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.after, entry)
		if i >= 0 {
			c.after = slices.Delete(c.after, i, i+1)
		}
		return i >= 0
	}
}
