// Package driver is what the drivers of buses have in common: a queue with bounds, who listens to what,
// and a loop that keeps a connection.
package driver

import (
	"context"
	"errors"
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

// Core is the part of a bus, or of one of its lanes, that knows nothing of what carries the messages. T is
// what is listened to. It is safe for concurrent use.
type Core[T comparable] struct {
	Options
	*shared

	closing, done    chan struct{}   // closed by Close, one after the other
	late             context.Context // ends when nothing more is sent after Close
	giveUp           context.CancelFunc
	sending, hearing sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	queue   []Message
	bytes   int
	most    int           // how many may wait here
	waiting chan struct{} // holds one element if the queue is not empty
	topics  map[T]*topic[T]
	dirty   map[T]struct{} // those that may have to be subscribed or unsubscribed
	stirred chan struct{}  // holds one element if dirty is not empty
	end     func()         // ends the connection that receives; nil: none
}

// The defaults of Options.
const (
	MaxQueue = 8 << 20
	MaxAge   = 5 * time.Second
)

// New returns a Core that nothing carries yet; see Start.
func New[T comparable](o Options) *Core[T] { return Lanes[T](o, 1)[0] }

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
	close(c.closing)
	c.mu.Unlock()
	c.watching.Lock()
	clear(c.watchers)
	c.watching.Unlock()
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
	soonPause  = 200 * time.Millisecond
)

// Soon makes an error of hear one that another attempt soon mends: the driver has learned where to connect.
func Soon(err error) error { return soon{err} }

type soon struct{ error }

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
		c.EndWith(nil)
		if connected {
			c.Tell(adapter.Down)
		}
		select {
		case <-c.done:
			return
		default:
		}
		c.board.Post(slog.LevelWarn, "lost", "the connection to the bus is lost", "error", err)
		switch {
		case errors.As(err, new(soon)):
			pause = soonPause
		case connected:
			pause = firstPause
		case pause < nextPause:
			pause = nextPause
		default:
			pause = min(2*pause, maxPause)
		}
	}
}

// EndWith says what ends the connection that hear uses, until hear returns.
func (c *Core[T]) EndWith(end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
}

// Reconnect replaces the connection that receives, as adapter.Reconnecter does.
func (c *Core[T]) Reconnect() {
	c.mu.Lock()
	end := c.end
	c.mu.Unlock()
	if end != nil {
		end()
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
