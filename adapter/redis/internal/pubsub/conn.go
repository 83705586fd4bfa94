// Package pubsub keeps a connection to Redis for publish/subscribe: it bounds what waits to be sent, and
// restores what is subscribed.
package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
)

// Options configure New.
type Options struct {
	// MaxQueue is how many bytes may wait to be sent; 8 MiB. Beyond that, Publish returns
	// adapter.ErrFull.
	MaxQueue int

	// MaxAge is how long a message may wait to be sent; 5 s. Older ones are dropped, which the other
	// servers learn.
	MaxAge time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// MaxMessage is the size of the largest message.
const MaxMessage = 16 << 20

const (
	maxBatch    = 256 // messages that are sent together
	maxChannels = 512 // channels of a SUBSCRIBE
	closeTime   = time.Second
)

// Conn is a connection to Redis. It is safe for concurrent use.
type Conn struct {
	opts   Options
	client rueidis.Client
	done   chan struct{} // closed by Close
	ended  sync.WaitGroup

	// calls is held while a listener or watcher is called.
	calls sync.Mutex

	mu       sync.Mutex
	closed   bool
	queue    []message
	bytes    int
	waiting  chan struct{} // holds one element if the queue is not empty
	subs     map[name]*subscribed
	dirty    []name        // those that may have to be subscribed or unsubscribed
	stirred  chan struct{} // holds one element if dirty is not empty
	watchers map[int]func(adapter.State)
	next     int
	deaf     func() // ends the current connection that receives; nil: none
}

// message waits to be sent.
type message struct {
	channel string
	data    []byte
	since   time.Time
}

// name is that of a channel, or a pattern of such names.
type name struct {
	text    string
	pattern bool
}

// subscribed is what is subscribed, or is going to be.
type subscribed struct {
	listeners []*Subscription
	active    chan struct{} // closed when it is subscribed
	heard     bool          // it is subscribed, on the current connection
}

// New connects to the Redis that options describe. It waits until Redis answers.
func New(options rueidis.ClientOption, o Options) (*Conn, error) {
	b := &Conn{
		opts: o,
		done: make(chan struct{}), waiting: make(chan struct{}, 1), stirred: make(chan struct{}, 1),
		subs: map[name]*subscribed{}, watchers: map[int]func(adapter.State){},
	}
	if b.opts.MaxQueue == 0 {
		b.opts.MaxQueue = 8 << 20
	}
	if b.opts.MaxAge == 0 {
		b.opts.MaxAge = 5 * time.Second
	}
	if b.opts.Logger == nil {
		b.opts.Logger = slog.Default()
	}
	options.PipelineMultiplex = -1 // one connection, so that messages keep their order
	options.DisableRetry = true    // a message must not arrive twice
	options.DisableCache = true
	if options.ConnWriteTimeout == 0 {
		options.ConnWriteTimeout = b.opts.MaxAge
	}
	client, err := rueidis.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	b.client = client
	b.ended.Go(b.send)
	b.ended.Go(b.receive)
	return b, nil
}

// Publish queues data for a channel, as adapter.Bus does.
func (b *Conn) Publish(channel string, data []byte) error {
	if len(data) > MaxMessage {
		return adapter.ErrTooLarge
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return adapter.ErrClosed
	case b.bytes+len(data) > b.opts.MaxQueue && b.bytes > 0:
		return adapter.ErrFull
	}
	b.queue = append(b.queue, message{channel, data, now})
	b.bytes += len(data)
	signal(b.waiting)
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns what is to be sent next, and how many messages have become too old.
func (b *Conn) take() (batch []message, old int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := time.Now().Add(-b.opts.MaxAge)
	for old < len(b.queue) && b.queue[old].since.Before(limit) {
		b.bytes -= len(b.queue[old].data)
		old++
	}
	n := old
	for n < len(b.queue) && n-old < maxBatch {
		b.bytes -= len(b.queue[n].data)
		n++
	}
	batch = b.queue[old:n:n]
	if b.queue = b.queue[n:]; len(b.queue) == 0 {
		b.queue = nil
	}
	return batch, old
}

// send sends what is queued, until the bus is closed.
func (b *Conn) send() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	closing := b.done
	for {
		select {
		case <-b.waiting:
		case <-closing:
			// What is left goes out, within a second.
			closing = nil
			time.AfterFunc(closeTime, cancel)
			signal(b.waiting)
			continue
		}
		for ctx.Err() == nil {
			batch, old := b.take()
			failed := old
			if len(batch) > 0 {
				failed += b.publish(ctx, batch)
			}
			if failed > 0 && closing != nil {
				b.opts.Logger.Warn("messages to the cluster were not sent", "count", failed)
				for range failed {
					b.tell(adapter.Unsent)
				}
			}
			if len(batch) == 0 {
				break
			}
		}
		if closing == nil {
			return
		}
	}
}

// publish sends a batch and returns how many of its messages were not sent.
func (b *Conn) publish(ctx context.Context, batch []message) (failed int) {
	commands := make(rueidis.Commands, len(batch))
	for i, m := range batch {
		commands[i] = b.client.B().Publish().Channel(m.channel).Message(rueidis.BinaryString(m.data)).Build()
	}
	for _, r := range b.client.DoMulti(ctx, commands...) {
		if r.Error() != nil {
			failed++
		}
	}
	return failed
}

// Watch calls f when the state of the connection changes, as adapter.Bus does.
func (b *Conn) Watch(f func(adapter.State)) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.next
	b.next++
	b.watchers[id] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, id)
	}
}

// tell calls the watchers.
func (b *Conn) tell(s adapter.State) {
	b.mu.Lock()
	var all []func(adapter.State)
	for id := range b.next {
		if f := b.watchers[id]; f != nil {
			all = append(all, f)
		}
	}
	b.mu.Unlock()
	b.calls.Lock()
	defer b.calls.Unlock()
	for _, f := range all {
		f(s)
	}
}

// Reconnect replaces the connection that receives.
func (b *Conn) Reconnect() {
	b.mu.Lock()
	deaf := b.deaf
	b.mu.Unlock()
	if deaf != nil {
		deaf()
	}
}

// Close sends what is queued, waiting a second at most, and ends everything.
func (b *Conn) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	clear(b.watchers)
	close(b.done)
	b.mu.Unlock()
	b.ended.Wait()
	b.client.Close()
	return nil
}

// Subscribers returns how many clients of Redis have subscribed to a channel, patterns apart.
func (b *Conn) Subscribers(ctx context.Context, channel string) (int, error) {
	all, err := b.client.Do(ctx, b.client.B().PubsubNumsub().Channel(channel).Build()).AsIntMap()
	return int(all[channel]), err
}

var errClosed = errors.New("closed")
