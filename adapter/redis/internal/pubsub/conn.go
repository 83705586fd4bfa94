// Package pubsub keeps a connection to Redis for publish/subscribe.
package pubsub

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
)

// Options configure On.
type Options struct {
	driver.Options

	// Sharded uses the publish/subscribe whose channels belong to a shard of a Redis Cluster each. It is
	// another one than the common one, also on a single server. It has no patterns. On a Redis Cluster, all
	// channels of a Conn must be in one slot; see Shards and Scattered.
	Sharded bool
}

// MaxMessage is the size of the largest message.
const MaxMessage = 16 << 20

const (
	bufferSize  = 128 << 10 // bytes, of a connection
	refreshTime = 3 * time.Second
)

// Conn is a connection to Redis. It is safe for concurrent use.
type Conn struct {
	core    *driver.Core[name]
	client  rueidis.Client
	sharded bool
	again   bool // it was up before; owned by hear

	probe string       // a channel of its own, to find out whether it hears; "": it does not
	asked atomic.Int64 // when it sent what it has not heard yet, in nanoseconds; 0: nothing
}

// name is that of a channel, or a pattern of such names.
type name struct {
	text    string
	pattern bool
}

// Connect returns a client of the Redis that options describe, with what a Conn needs of it. It waits until
// Redis answers.
func Connect(options rueidis.ClientOption, o Options) (rueidis.Client, error) {
	options.PipelineMultiplex = -1 // one connection, so that messages keep their order
	options.DisableRetry = true    // a message must not arrive twice
	options.DisableCache = true
	options.ConnWriteTimeout = cmp.Or(options.ConnWriteTimeout, o.MaxAge, driver.MaxAge)
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

// On returns a connection that uses a client of Connect. Close closes the client, too.
func On(client rueidis.Client, o Options) *Conn {
	b := &Conn{core: driver.New[name](o.Options), client: client, sharded: o.Sharded}
	b.core.Start(b.send, b.hear)
	return b
}

// Publish queues data for a channel, as adapter.Bus does.
func (b *Conn) Publish(channel string, data []byte) error {
	if len(data) > MaxMessage {
		return adapter.ErrTooLarge
	}
	return b.core.Publish(channel, data)
}

// Subscribe calls deliver with what is published to a channel, or to all whose names match a pattern.
// It makes one call at a time.
func (b *Conn) Subscribe(text string, pattern bool, deliver func(channel string, data []byte)) adapter.Listening {
	return b.core.Listen(name{text, pattern}, deliver)
}

// Listen calls deliver with what is published to a channel, as adapter.Bus does.
func (b *Conn) Listen(channel string, deliver func(data []byte)) adapter.Listening {
	return b.Subscribe(channel, false, func(_ string, data []byte) { deliver(data) })
}

// Watch calls f when the state of the connection changes, as adapter.Bus does.
func (b *Conn) Watch(f func(adapter.State)) (stop func()) { return b.core.Watch(f) }

// Reconnect replaces the connection that receives.
func (b *Conn) Reconnect() { b.core.Reconnect() }

// Close sends what is queued, waiting a second at most, and ends everything.
func (b *Conn) Close() error {
	if b.core.Close() {
		b.client.Close()
	}
	return nil
}

// send sends a batch and returns how many of its messages were not sent.
func (b *Conn) send(ctx context.Context, batch []driver.Message) (failed int) {
	commands := make(rueidis.Commands, len(batch))
	for i, m := range batch {
		if b.sharded {
			commands[i] = b.client.B().Spublish().Channel(m.Topic).Message(rueidis.BinaryString(m.Data)).Build()
		} else {
			commands[i] = b.client.B().Publish().Channel(m.Topic).Message(rueidis.BinaryString(m.Data)).Build()
		}
	}
	for _, r := range b.client.DoMulti(ctx, commands...) {
		if r.Error() != nil {
			failed++
		}
	}
	return failed
}

// Subscribers returns how many clients of Redis have subscribed to each of some channels, patterns apart.
func (b *Conn) Subscribers(ctx context.Context, channels ...string) (map[string]int64, error) {
	// In a Redis Cluster, each server knows those that are connected to it, or whose channel's slot it has.
	sum := map[string]int64{}
	for _, node := range b.client.Nodes() {
		command := "NUMSUB"
		if b.sharded {
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
