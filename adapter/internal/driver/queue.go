package driver

import (
	"context"
	"log/slog"
	"time"

	"github.com/parley-go/parley/adapter"
)

const (
	maxBatch  = 256         // messages that are sent together
	closeTime = time.Second // for what is still to be sent
)

// Message waits to be sent.
type Message struct {
	Topic string
	Data  []byte
	Since time.Time
}

// Publish queues a message, as adapter.Bus does. The driver checks its size.
func (c *Core[T]) Publish(topic string, data []byte) error {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return adapter.ErrClosed
	case c.bytes > 0 && (c.bytes+len(data) > c.most || int(c.queued.Load())+len(data) > c.MaxQueue):
		return adapter.ErrFull
	}
	c.queue = append(c.queue, Message{topic, data, now})
	c.addLocked(len(data))
	signal(c.waiting)
	return nil
}

// addLocked changes how many bytes wait to be sent.
func (c *Core[T]) addLocked(n int) {
	c.bytes += n
	c.queued.Add(int64(n))
}

// take returns what is to be sent next, and how many messages have become too old.
func (c *Core[T]) take() (batch []Message, old int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := time.Now().Add(-c.MaxAge)
	for old < len(c.queue) && c.queue[old].Since.Before(limit) {
		c.addLocked(-len(c.queue[old].Data))
		old++
	}
	n := old
	for n < len(c.queue) && n-old < maxBatch {
		c.addLocked(-len(c.queue[n].Data))
		n++
	}
	batch = c.queue[old:n:n]
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return batch, old
}

// send sends what is queued, until that is all after Close.
func (c *Core[T]) send(send func(context.Context, []Message) (failed int)) {
	for closing := false; !closing; {
		select {
		case <-c.waiting:
		case <-c.closing:
			closing = true
		}
		for c.late.Err() == nil {
			batch, failed := c.take()
			if len(batch) == 0 && failed == 0 {
				break
			}
			if len(batch) > 0 {
				failed += send(c.late, batch)
			}
			c.Unsent(failed)
		}
	}
}

// Unsent tells that messages were not sent that Publish had accepted.
func (c *Core[T]) Unsent(n int) {
	if n == 0 || c.isClosed() {
		return
	}
	c.board.Post(slog.LevelWarn, "unsent", "messages to the cluster were not sent", "count", n)
	for range n {
		c.Tell(adapter.Unsent)
	}
}

func (c *Core[T]) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
