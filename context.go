package parley

import (
	"context"
	"slices"
	"time"
)

// Context returns a context that ends when the socket disconnects. It descends from the one that
// Options.ConnContext returned, and has the values of keys (see Key).
func (s *Socket) Context() context.Context { return (*socketContext)(s) }

// socketContext is a socket as a context, which so costs nothing until it is waited for.
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

// AfterFunc is how package context has f called without a goroutine that waits for it.
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
