// Package redis connects the servers of a cluster through Redis, by its publish/subscribe. It needs
// Redis 6 or later, or a server that speaks the same protocol (Valkey): one server, several under Sentinel,
// or a Redis Cluster of version 7 or later, by its sharded publish/subscribe.
package redis

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
	"github.com/parley-go/parley/adapter/redis/internal/pubsub"
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

	// Unsharded makes a Redis Cluster pass each message to all of its servers (PUBLISH), as it must before
	// Redis 7. By default, a message goes to one shard only (SPUBLISH), so that more servers carry more.
	// All servers must have the same.
	Unsharded bool

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// Bus is an adapter.Bus over Redis.
type Bus struct {
	conn   conn
	prefix string // of what conn calls channels
	caps   adapter.Caps
}

// conn is a pubsub.Conn or pubsub.Shards.
type conn interface {
	Publish(channel string, data []byte) error
	Listen(channel string, deliver func(data []byte)) adapter.Listening
	Watch(f func(adapter.State)) (stop func())
	Reconnect()
	Close() error
}

// New returns a bus on the Redis that options describe. rueidis.ParseURL makes them from a URL. It
// waits until Redis answers.
func New(options rueidis.ClientOption, o *Options) (*Bus, error) {
	if o == nil {
		o = &Options{}
	}
	opts := pubsub.Options{Options: driver.Options{MaxQueue: o.MaxQueue, MaxAge: o.MaxAge, Logger: o.Logger}}
	client, err := pubsub.Connect(options, opts)
	if err != nil {
		return nil, err
	}
	b := &Bus{prefix: cmp.Or(o.Prefix, "parley:"), caps: adapter.Caps{MaxMessage: pubsub.MaxMessage, Interest: true, Order: adapter.PerSender}}
	if o.Unsharded || client.Mode() != rueidis.ClientModeCluster {
		b.conn = pubsub.On(client, opts)
		return b, nil
	}
	shards, err := pubsub.NewShards(client, b.prefix, opts)
	if err != nil {
		return nil, err
	}
	b.conn, b.prefix = shards, ""
	b.caps.Order, b.caps.Lanes = adapter.PerTopic, shards.Lanes()
	return b, nil
}

// Publish implements adapter.Bus.
func (b *Bus) Publish(topic string, data []byte) error { return b.conn.Publish(b.prefix+topic, data) }

// Listen implements adapter.Bus.
func (b *Bus) Listen(topic string, deliver func([]byte)) adapter.Listening {
	return b.conn.Listen(b.prefix+topic, deliver)
}

// Caps implements adapter.Bus.
func (b *Bus) Caps() adapter.Caps { return b.caps }

// Watch implements adapter.Bus.
func (b *Bus) Watch(f func(adapter.State)) (stop func()) { return b.conn.Watch(f) }

// Reconnect implements adapter.Reconnecter.
func (b *Bus) Reconnect() { b.conn.Reconnect() }

// Close implements adapter.Bus.
func (b *Bus) Close() error { return b.conn.Close() }
