// Package driver is what the drivers of buses have in common: a queue with bounds, who listens to what,
// and a loop that keeps a connection.
package driver

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
)

// Options configure a Core.
type Options struct {
	// MaxQueue is how many bytes may wait to be sent; 8 MiB.
	MaxQueue int

	// MaxAge is how long a message may wait to be sent; 5 s.
	MaxAge time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// Core is the part of a bus that knows nothing of what carries the messages. T is what is listened to.
// It is safe for concurrent use.
type Core[T comparable] struct {
	Options

	closing, done    chan struct{}   // closed by Close, one after the other
	late             context.Context // ends when nothing more is sent after Close
	giveUp           context.CancelFunc
	sending, hearing sync.WaitGroup

	// calls is held while a listener or watcher is called.
	calls sync.Mutex

	mu       sync.Mutex
	closed   bool
	queue    []Message
	bytes    int
	waiting  chan struct{} // holds one element if the queue is not empty
	topics   map[T]*topic[T]
	dirty    []T           // those that may have to be subscribed or unsubscribed
	stirred  chan struct{} // holds one element if dirty is not empty
	watchers map[int]func(adapter.State)
	next     int
}

// New returns a Core that nothing carries yet; see Start.
func New[T comparable](o Options) *Core[T] {
	o.MaxQueue = cmp.Or(o.MaxQueue, 8<<20)
	o.MaxAge = cmp.Or(o.MaxAge, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	late, giveUp := context.WithCancel(context.Background())
	return &Core[T]{
		Options: o, late: late, giveUp: giveUp, closing: make(chan struct{}), done: make(chan struct{}), waiting: make(chan struct{}, 1), stirred: make(chan struct{}, 1),
		topics: map[T]*topic[T]{}, watchers: map[int]func(adapter.State){},
	}
}

// Start makes the driver send and receive until Close, on a goroutine each.
//
// send sends a batch, and returns how many of its messages were not sent. Its context ends a second
// after Close.
//
// hear receives on one connection until that is lost, and calls connected when everything is
// subscribed. When Done is closed, which is after everything was sent, it returns.
func (c *Core[T]) Start(send func(context.Context, []Message) (failed int), hear func(connected func()) error) {
	c.sending.Go(func() { c.send(send) })
	c.hearing.Go(func() { c.keep(hear) })
}

// Late ends a second after Close was called.
func (c *Core[T]) Late() context.Context { return c.late }

// Done is closed by Close, when what was queued is sent.
func (c *Core[T]) Done() <-chan struct{} { return c.done }

// Close sends what is queued, waiting a second at most, and ends everything. It returns false if that
// has happened before.
func (c *Core[T]) Close() bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	clear(c.watchers)
	close(c.closing)
	c.mu.Unlock()
	defer time.AfterFunc(closeTime, c.giveUp).Stop()
	c.sending.Wait()
	close(c.done)
	c.hearing.Wait()
	c.giveUp()
	return true
}

// The pauses between attempts to connect, which grow. A server that is back is heard again within 5 s.
const (
	firstPause = 50 * time.Millisecond
	nextPause  = time.Second
	maxPause   = 4 * time.Second
)

// keep keeps a connection that receives.
func (c *Core[T]) keep(hear func(connected func()) error) {
	again := false
	for pause := time.Duration(0); ; {
		select {
		case <-c.done:
			return
		case <-time.After(pause - time.Duration(rand.Int64N(int64(pause)/4+1))):
		}
		connected := false
		err := hear(func() {
			if connected {
				return
			}
			if connected = true; again {
				c.Tell(adapter.Up)
			}
			again = true
		})
		if connected {
			c.Tell(adapter.Down)
		}
		select {
		case <-c.done:
			return
		default:
		}
		c.Logger.Warn("the connection to the bus is lost", "error", err)
		switch {
		case connected:
			pause = firstPause
		case pause < nextPause:
			pause = nextPause
		default:
			pause = min(2*pause, maxPause)
		}
	}
}

// Watch calls f when the state of the bus changes, as adapter.Bus does.
func (c *Core[T]) Watch(f func(adapter.State)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.next
	c.next++
	c.watchers[id] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, id)
	}
}

// Tell calls the watchers.
func (c *Core[T]) Tell(s adapter.State) {
	c.mu.Lock()
	var all []func(adapter.State)
	for id := range c.next {
		if f := c.watchers[id]; f != nil {
			all = append(all, f)
		}
	}
	c.mu.Unlock()
	c.calls.Lock()
	defer c.calls.Unlock()
	for _, f := range all {
		f(s)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
