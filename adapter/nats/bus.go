// Package nats connects the servers of a cluster through NATS: core NATS, without JetStream. One server of
// NATS and a cluster of them are supported. Package embedded needs no server of its own.
package nats

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
	"github.com/parley-go/parley/adapter/nats/internal/pubsub"
)

// Options configure New.
type Options struct {
	// Prefix begins each subject, so that several clusters can share a NATS. The default is "parley.".
	// Permissions for a server are to publish and to subscribe to Prefix followed by ">".
	Prefix string

	// Connect has options for nats.Connect: credentials (nats.UserCredentials, nats.Nkey), TLS (nats.Secure,
	// nats.RootCAs, nats.ClientCert) and the like. Those about reconnecting, and handlers of errors and of the
	// connection's end, are replaced.
	Connect []nats.Option

	// MaxQueue is how many bytes may wait to be sent; 8 MiB. Beyond that, Publish returns
	// adapter.ErrFull.
	MaxQueue int

	// MaxAge is how long a message may wait to be sent; 5 s. Older ones are dropped, which the other
	// servers learn.
	MaxAge time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

// Bus is an adapter.Bus over NATS.
type Bus struct{ bus *pubsub.Bus }

// New connects to NATS. url has the URLs of servers, separated by commas: nats://, or tls:// to insist on
// TLS, with a user and a password or a token if needed. It waits until a server answers.
//
// The size of the largest message is max_payload of the server (1 MiB by default), less 1 KiB.
func New(url string, o *Options) (*Bus, error) {
	if o == nil {
		o = &Options{}
	}
	bus, err := pubsub.New(url, pubsub.Options{
		Options: driver.Options{MaxQueue: o.MaxQueue, MaxAge: o.MaxAge, Logger: o.Logger},
		Prefix:  o.Prefix, Connect: o.Connect,
	})
	if err != nil {
		return nil, err
	}
	return &Bus{bus}, nil
}

// Publish implements adapter.Bus.
func (b *Bus) Publish(topic string, data []byte) error { return b.bus.Publish(topic, data) }

// Listen implements adapter.Bus.
func (b *Bus) Listen(topic string, deliver func([]byte)) adapter.Listening {
	return b.bus.Listen(topic, deliver)
}

// Watch implements adapter.Bus.
func (b *Bus) Watch(f func(adapter.State)) (stop func()) { return b.bus.Watch(f) }

// Caps implements adapter.Bus.
func (b *Bus) Caps() adapter.Caps { return b.bus.Caps() }

// Reconnect implements adapter.Reconnecter.
func (b *Bus) Reconnect() { b.bus.Reconnect() }

// Close implements adapter.Bus.
func (b *Bus) Close() error { return b.bus.Close() }
