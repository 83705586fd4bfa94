// Package pubsub is a bus over a connection to NATS.
package pubsub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
)

// Options configure New.
type Options struct {
	driver.Options

	// Prefix begins each subject. The default is "parley.".
	Prefix string

	// Connect is passed on to nats.Connect.
	Connect []nats.Option

	// Routes returns the ids of the servers to which the connected one has a route. Nil: nobody knows.
	Routes func() []string
}

const (
	maxTopic = 1 << 10 // how much of NATS's largest message is set aside for the topic
	maxFrame = 1 << 16 // of the memory that is kept for the next message
)

// Bus is an adapter.Bus over NATS.
type Bus struct {
	core  *driver.Core[string]
	opts  Options
	url   string       // of the servers that were given
	urls  string       // and of those that NATS has named; owned by hear
	most  atomic.Int64 // bytes of the largest message that NATS accepts
	frame []byte       // owned by send

	mu    sync.Mutex
	raw   *gate         // the newest connection; nil: none
	conn  *conn         // the one that is usable; nil: none
	there chan struct{} // closed when conn is not nil

	active chan struct{} // closed when the first connection is complete
}

// New connects to NATS. url has the servers' URLs, separated by commas. It waits until one answers.
func New(url string, o Options) (*Bus, error) {
	o.Prefix = cmp.Or(o.Prefix, "parley.")
	if strings.ContainsAny(o.Prefix, " \t\r\n*>") || strings.HasPrefix(o.Prefix, ".") || strings.Contains(o.Prefix, "..") {
		return nil, fmt.Errorf("nats: %q cannot begin a subject", o.Prefix)
	}
	b := &Bus{core: driver.New[string](o.Options), opts: o, url: url, urls: url, there: make(chan struct{}), active: make(chan struct{})}
	first, err := b.connect(url)
	if err != nil {
		b.core.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	activate := sync.OnceFunc(func() { close(b.active) })
	b.core.Start(b.send, func(connected func()) error {
		c := first
		first = nil
		if c == nil {
			var err error
			if c, err = b.connect(b.urls); err != nil {
				return err
			}
		}
		return c.hear(func() { connected(); activate() })
	})
	return b, nil
}

// Publish implements adapter.Bus.
func (b *Bus) Publish(topic string, data []byte) error {
	if most := int(b.most.Load()); len(data) > most-maxTopic || len(data)+len(topic)+binary.MaxVarintLen32 > most {
		return adapter.ErrTooLarge
	}
	return b.core.Publish(topic, data)
}

// Listen implements adapter.Bus.
func (b *Bus) Listen(topic string, deliver func([]byte)) adapter.Listening {
	return b.core.Listen(topic, func(_ string, data []byte) { deliver(data) })
}

// Watch implements adapter.Bus.
func (b *Bus) Watch(f func(adapter.State)) (stop func()) { return b.core.Watch(f) }

// Active is closed when the first connection is complete: all servers of NATS know what is listened to.
func (b *Bus) Active() <-chan struct{} { return b.active }

// Lost tells that messages were lost on their way between servers of NATS.
func (b *Bus) Lost() { b.core.Tell(adapter.Lost) }

// Caps implements adapter.Bus.
func (b *Bus) Caps() adapter.Caps {
	return adapter.Caps{MaxMessage: max(0, int(b.most.Load())-maxTopic), Interest: true, Order: adapter.PerSender}
}

// Reconnect implements adapter.Reconnecter.
func (b *Bus) Reconnect() {
	b.mu.Lock()
	raw := b.raw
	b.mu.Unlock()
	if raw != nil {
		raw.Close()
	}
}

// Close implements adapter.Bus.
func (b *Bus) Close() error {
	defer context.AfterFunc(b.core.Late(), b.Reconnect)()
	b.core.Close()
	return nil
}

// use makes a connection the one that is usable; nil: there is none.
func (b *Bus) use(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.there = make(chan struct{})
	}
	if b.conn = c; c != nil {
		close(b.there)
	}
}

// await returns the usable connection, or nil if there is none until then.
func (b *Bus) await(ctx context.Context, until time.Time) *conn {
	b.mu.Lock()
	c, there := b.conn, b.there
	b.mu.Unlock()
	if c != nil {
		return c
	}
	timeout := time.NewTimer(time.Until(until))
	defer timeout.Stop()
	select {
	case <-there:
		return b.await(ctx, until)
	case <-timeout.C:
	case <-ctx.Done():
	}
	return nil
}

// send sends a batch, in time.
func (b *Bus) send(ctx context.Context, batch []driver.Message) (failed int) {
	for _, m := range batch {
		if !b.sendOne(ctx, m) {
			failed++
		}
	}
	return failed
}

func (b *Bus) sendOne(ctx context.Context, m driver.Message) bool {
	b.frame = append(binary.AppendUvarint(b.frame[:0], uint64(len(m.Topic))), m.Topic...)
	b.frame = append(b.frame, m.Data...)
	subject := b.subject(m.Topic)
	if cap(b.frame) > maxFrame {
		defer func() { b.frame = nil }()
	}
	for {
		c := b.await(ctx, m.Since.Add(b.core.MaxAge))
		if c == nil {
			return false
		}
		err := c.nats.Publish(subject, b.frame)
		switch {
		case err == nil:
			c.written.Add(1)
			signal(c.wrote)
			return true
		case !errors.Is(err, nats.ErrConnectionClosed):
			return false
		}
		<-c.gone // nothing was written: the next connection may do it
	}
}

// split is the reverse of what sendOne does. topic shares the memory of frame.
func split(frame []byte) (topic string, data []byte, ok bool) {
	n, size := binary.Uvarint(frame)
	if size <= 0 || n > uint64(len(frame)-size) {
		return "", nil, false
	}
	name := frame[size:][:n]
	return unsafe.String(unsafe.SliceData(name), len(name)), frame[size+len(name):], true
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// subject returns the subject of a topic. Topics may share one, so messages carry their topic.
func (b *Bus) subject(topic string) string {
	sum := hash(topic)
	name := make([]byte, 0, 64)
	return string(encoding.AppendEncode(append(name, b.opts.Prefix...), sum[:]))
}

var hash = func(topic string) [16]byte {
	sum := sha256.Sum256([]byte(topic))
	return [16]byte(sum[:16])
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
