// Package redis connects the servers of a cluster through Redis, by its publish/subscribe. It needs
// Redis 6 or later, or a server that speaks the same protocol (Valkey). One server, and several under
// Sentinel, are supported.
package redis

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
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

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// Bus is an adapter.Bus over Redis.
type Bus struct {
	conn   *pubsub.Conn
	prefix string
}

// New returns a bus on the Redis that options describe. rueidis.ParseURL makes them from a URL. It
// waits until Redis answers.
func New(options rueidis.ClientOption, o *Options) (*Bus, error) {
	if o == nil {
		o = &Options{}
	}
	conn, err := pubsub.New(options, pubsub.Options{MaxQueue: o.MaxQueue, MaxAge: o.MaxAge, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return &Bus{conn, cmp.Or(o.Prefix, "parley:")}, nil
}

// Publish implements adapter.Bus.
func (b *Bus) Publish(topic string, data []byte) error { return b.conn.Publish(b.prefix+topic, data) }

// Listen implements adapter.Bus.
func (b *Bus) Listen(topic string, deliver func([]byte)) adapter.Listening {
	return b.conn.Subscribe(b.prefix+topic, false, func(_ string, data []byte) { deliver(data) })
}

// Caps implements adapter.Bus.
func (b *Bus) Caps() adapter.Caps {
	return adapter.Caps{MaxMessage: pubsub.MaxMessage, Interest: true, Order: adapter.PerSender}
}

// Watch implements adapter.Bus.
func (b *Bus) Watch(f func(adapter.State)) (stop func()) { return b.conn.Watch(f) }

// Reconnect implements adapter.Reconnecter.
func (b *Bus) Reconnect() { b.conn.Reconnect() }

// Close implements adapter.Bus.
func (b *Bus) Close() error { return b.conn.Close() }
