// Package pubsub keeps a connection to Redis for publish/subscribe: it bounds what waits to be sent, and
// restores what is subscribed.
package pubsub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/notice"
)

// Options configure New.
type Options struct {
	// MaxQueue is how many bytes may wait to be sent; 8 MiB. Beyond that, Publish returns
	// adapter.ErrFull.
	MaxQueue int

	// MaxAge is how long a message may wait to be sent; 5 s. Older ones are dropped, which the other
	// servers learn.
	MaxAge time.Duration

	// Sharded uses the publish/subscribe whose channels belong to a shard of a Redis Cluster each. It is
	// another one than the common one, also on a single server. It has no patterns. On a Redis Cluster, all
	// channels of a Conn must be in one slot; see Shards.
	Sharded bool

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// MaxMessage is the size of the largest message.
const MaxMessage = 16 << 20

const (
	maxBatch    = 256 // messages that are sent together
	maxChannels = 512 // channels of a SUBSCRIBE
	closeTime   = time.Second
	bufferSize  = 128 << 10 // bytes, of a connection
	refreshTime = 3 * time.Second
)

// Conn is a connection to Redis. It is safe for concurrent use.
type Conn struct {
	opts   Options
	client rueidis.Client
	done   chan struct{} // closed by Close
	ended  sync.WaitGroup

	*common
	most  int  // bytes that may wait in this lane
	owner bool // of the client

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

// common is what the lanes of Shards have in common.
type common struct {
	calls  sync.Mutex   // held while a listener or watcher is called
	queued atomic.Int64 // bytes that wait to be sent
	board  *notice.Board
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

// Connect returns a client of the Redis that options describe, with what a Conn needs of it. It waits until
// Redis answers.
func Connect(options rueidis.ClientOption, o Options) (rueidis.Client, error) {
	options.PipelineMultiplex = -1 // one connection, so that messages keep their order
	options.DisableRetry = true    // a message must not arrive twice
	options.DisableCache = true
	options.ConnWriteTimeout = cmp.Or(options.ConnWriteTimeout, o.complete().MaxAge)
	options.ReadBufferEachConn = cmp.Or(options.ReadBufferEachConn, bufferSize)
	options.WriteBufferEachConn = cmp.Or(options.WriteBufferEachConn, bufferSize)
	// Without it, a client of Sentinel that misses one message stays with the old master.
	options.Sentinel.TopologyRefreshInterval = cmp.Or(options.Sentinel.TopologyRefreshInterval, refreshTime)
	options.ClusterOption.ShardsRefreshInterval = cmp.Or(options.ClusterOption.ShardsRefreshInterval, refreshTime)
	client, err := rueidis.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return client, nil
}

// New is Connect and On.
func New(options rueidis.ClientOption, o Options) (*Conn, error) {
	client, err := Connect(options, o)
	if err != nil {
		return nil, err
	}
	if o.Sharded && client.Mode() == rueidis.ClientModeCluster {
		client.Close()
		return nil, errors.New("redis: on a Redis Cluster, sharded publish/subscribe with any channels is not supported")
	}
	return On(client, o), nil
}

// On returns a connection that uses a client of Connect. Close closes the client, too.
func On(client rueidis.Client, o Options) *Conn {
	o = o.complete()
	b := start(client, o, o.MaxQueue, &common{board: notice.New(o.Logger)})
	b.owner = true
	return b
}

func (o Options) complete() Options {
	o.MaxQueue = cmp.Or(o.MaxQueue, 8<<20)
	o.MaxAge = cmp.Or(o.MaxAge, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func start(client rueidis.Client, o Options, most int, c *common) *Conn {
	b := &Conn{
		opts: o, client: client, common: c, most: most,
		done: make(chan struct{}), waiting: make(chan struct{}, 1), stirred: make(chan struct{}, 1),
		subs: map[name]*subscribed{}, watchers: map[int]func(adapter.State){},
	}
	b.ended.Go(b.send)
	b.ended.Go(b.receive)
	return b
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
	case b.bytes > 0 && (b.bytes+len(data) > b.most || int(b.queued.Load())+len(data) > b.opts.MaxQueue):
		return adapter.ErrFull
	}
	b.queue = append(b.queue, message{channel, data, now})
	b.addLocked(len(data))
	signal(b.waiting)
	return nil
}

// addLocked changes how many bytes wait to be sent.
func (b *Conn) addLocked(n int) {
	b.bytes += n
	b.queued.Add(int64(n))
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
		b.addLocked(-len(b.queue[old].data))
		old++
	}
	n := old
	for n < len(b.queue) && n-old < maxBatch {
		b.addLocked(-len(b.queue[n].data))
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
				b.board.Post(slog.LevelWarn, "unsent", "messages to the cluster were not sent", "count", failed)
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
		if b.opts.Sharded {
			commands[i] = b.client.B().Spublish().Channel(m.channel).Message(rueidis.BinaryString(m.data)).Build()
		} else {
			commands[i] = b.client.B().Publish().Channel(m.channel).Message(rueidis.BinaryString(m.data)).Build()
		}
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
	if b.owner {
		b.client.Close()
	}
	return nil
}

// Subscribers returns how many clients of Redis have subscribed to each of some channels, patterns apart.
func (b *Conn) Subscribers(ctx context.Context, channels ...string) (map[string]int64, error) {
	// In a Redis Cluster, each server knows those that are connected to it, or whose channel's slot it has.
	sum := map[string]int64{}
	for _, node := range b.client.Nodes() {
		command := "NUMSUB"
		if b.opts.Sharded {
			command = "SHARDNUMSUB"
		}
		counts, err := node.Do(ctx, node.B().Arbitrary("PUBSUB", command).Args(channels...).Build()).AsIntMap()
		if err != nil {
			return nil, err
		}
		for channel, n := range counts {
			sum[channel] += n
		}
	}
	return sum, nil
}

var errClosed = errors.New("closed")
