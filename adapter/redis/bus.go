// Package redis connects the servers of a cluster through Redis, by its publish/subscribe. It needs
// Redis 6 or later, or a server that speaks the same protocol (Valkey). One server, and several under
// Sentinel, are supported.
package redis

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
	// Prefix begins the name of each channel, so that several clusters can share a Redis. The default
	// is "parley:".
	Prefix string

	// MaxQueue is how many bytes may wait to be sent; 8 MiB. Beyond that, Publish returns
	// adapter.ErrFull.
	MaxQueue int

	// MaxAge is how long a message may wait to be sent; 5 s. Older ones are dropped, which the other
	// servers learn.
	MaxAge time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

const (
	maxMessage  = 16 << 20
	maxBatch    = 256 // messages that are sent together
	maxChannels = 512 // channels of a SUBSCRIBE
	closeTime   = time.Second
)

// Bus is an adapter.Bus over Redis.
type Bus struct {
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
	topics   map[string]*channel
	dirty    []string      // channels that may have to be subscribed or unsubscribed
	stirred  chan struct{} // holds one element if dirty is not empty
	watchers map[int]func(adapter.State)
	next     int
	deaf     func() // ends the current connection that receives; nil: none
}

// message waits to be sent.
type message struct {
	topic string
	data  []byte
	since time.Time
}

// channel is a channel of Redis.
type channel struct {
	listeners []*listening
	active    chan struct{} // closed when it is subscribed
	heard     bool          // it is subscribed, on the current connection
}

// New returns a bus on the Redis that options describe. rueidis.ParseURL makes them from a URL. It
// waits until Redis answers.
func New(options rueidis.ClientOption, o *Options) (*Bus, error) {
	b := &Bus{
		done: make(chan struct{}), waiting: make(chan struct{}, 1), stirred: make(chan struct{}, 1),
		topics: map[string]*channel{}, watchers: map[int]func(adapter.State){},
	}
	if o != nil {
		b.opts = *o
	}
	if b.opts.Prefix == "" {
		b.opts.Prefix = "parley:"
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

// Caps implements adapter.Bus.
func (b *Bus) Caps() adapter.Caps {
	return adapter.Caps{MaxMessage: maxMessage, Interest: true, Order: adapter.PerSender}
}

// Publish implements adapter.Bus.
func (b *Bus) Publish(topic string, data []byte) error {
	if len(data) > maxMessage {
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
	b.queue = append(b.queue, message{topic, data, now})
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
func (b *Bus) take() (batch []message, old int) {
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
func (b *Bus) send() {
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
				b.tell(adapter.Unsent)
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
func (b *Bus) publish(ctx context.Context, batch []message) (failed int) {
	commands := make(rueidis.Commands, len(batch))
	for i, m := range batch {
		commands[i] = b.client.B().Publish().Channel(b.opts.Prefix + m.topic).Message(rueidis.BinaryString(m.data)).Build()
	}
	for _, r := range b.client.DoMulti(ctx, commands...) {
		if r.Error() != nil {
			failed++
		}
	}
	return failed
}

// Watch implements adapter.Bus.
func (b *Bus) Watch(f func(adapter.State)) (stop func()) {
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
func (b *Bus) tell(s adapter.State) {
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

// Reconnect implements adapter.Reconnecter.
func (b *Bus) Reconnect() {
	b.mu.Lock()
	deaf := b.deaf
	b.mu.Unlock()
	if deaf != nil {
		deaf()
	}
}

// Close implements adapter.Bus.
func (b *Bus) Close() error {
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

var errClosed = errors.New("closed")
