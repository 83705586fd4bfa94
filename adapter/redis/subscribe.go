package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
)

// listening implements adapter.Listening.
type listening struct {
	bus     *Bus
	topic   string
	deliver func([]byte)
	active  <-chan struct{}
	closed  bool // guarded by bus.mu
}

// Active implements adapter.Listening.
func (l *listening) Active() <-chan struct{} { return l.active }

// Listen implements adapter.Bus.
func (b *Bus) Listen(topic string, deliver func([]byte)) adapter.Listening {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.topics[topic]
	if c == nil {
		c = &channel{active: make(chan struct{})}
		b.topics[topic] = c
	}
	l := &listening{bus: b, topic: topic, deliver: deliver, active: c.active}
	c.listeners = append(slices.Clip(c.listeners), l)
	b.stirLocked(topic)
	return l
}

// Close implements adapter.Listening.
func (l *listening) Close() {
	b := l.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	c := b.topics[l.topic]
	c.listeners = slices.DeleteFunc(slices.Clone(c.listeners), func(other *listening) bool { return other == l })
	b.stirLocked(l.topic)
}

// stirLocked makes the receiving goroutine look at a channel.
func (b *Bus) stirLocked(topic string) {
	b.dirty = append(b.dirty, topic)
	signal(b.stirred)
}

// change is a batch of channels to subscribe and to unsubscribe.
type change struct{ add, remove []string }

// nextChange returns what has to change on the current connection.
func (b *Bus) nextChange() (next change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, topic := range b.dirty {
		if len(next.add) == maxChannels || len(next.remove) == maxChannels {
			break
		}
		n++
		switch c := b.topics[topic]; {
		case c == nil:
		case len(c.listeners) > 0 && !c.heard:
			c.heard = true // it will be, or the connection ends
			next.add = append(next.add, topic)
		case len(c.listeners) == 0 && c.heard:
			c.heard = false
			next.remove = append(next.remove, topic)
			delete(b.topics, topic)
		case len(c.listeners) == 0:
			delete(b.topics, topic)
		}
	}
	if b.dirty = b.dirty[n:]; len(b.dirty) == 0 {
		b.dirty = nil
	} else {
		signal(b.stirred)
	}
	return next
}

// receive keeps a connection that receives, until the bus is closed.
func (b *Bus) receive() {
	for first, pause := true, time.Duration(0); ; first = false {
		select {
		case <-b.done:
			return
		case <-time.After(pause):
		}
		began := time.Now()
		connected, err := b.hear(!first)
		if connected {
			b.tell(adapter.Down)
		}
		if errors.Is(err, errClosed) {
			return
		}
		b.opts.Logger.Warn("the connection to Redis is lost", "error", err)
		// From the second failure on, wait: 1, 2, 4 … 20 s, and less at random.
		switch {
		case connected || time.Since(began) > time.Minute:
			pause = 50 * time.Millisecond
		case pause < time.Second:
			pause = time.Second
		default:
			pause = min(2*pause, 20*time.Second)
		}
		pause -= time.Duration(rand.Int64N(int64(pause) / 4))
	}
}

// hear receives on one connection until that ends. again says that there was one before. connected
// reports whether everything was subscribed.
func (b *Bus) hear(again bool) (connected bool, err error) {
	conn, release := b.client.Dedicate()
	defer release()
	confirmed := make(chan string, 4*maxChannels)
	lost := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) { b.deliver(strings.TrimPrefix(m.Channel, b.opts.Prefix), m.Message) },
		OnSubscription: func(s rueidis.PubSubSubscription) {
			select {
			case confirmed <- s.Channel:
			case <-b.done:
			}
		},
	})
	b.mu.Lock()
	b.deaf = conn.Close
	b.dirty = nil
	for topic, c := range b.topics {
		c.heard = false
		b.dirty = append(b.dirty, topic)
	}
	signal(b.stirred)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.deaf = nil
	}()
	for {
		select {
		case <-b.done:
			return connected, errClosed
		case err := <-lost:
			return connected, err
		case <-b.stirred:
		}
		next := b.nextChange()
		if err := b.apply(conn, next, confirmed, lost); err != nil {
			return connected, err
		}
		b.mu.Lock()
		complete := len(b.dirty) == 0
		b.mu.Unlock()
		if complete && !connected {
			if connected = true; again {
				b.tell(adapter.Up)
			}
		}
	}
}

// apply subscribes and unsubscribes, and waits until Redis has confirmed it.
func (b *Bus) apply(conn rueidis.DedicatedClient, next change, confirmed <-chan string, lost <-chan error) error {
	ctx := context.Background()
	if len(next.remove) > 0 {
		if err := conn.Do(ctx, conn.B().Unsubscribe().Channel(b.channels(next.remove)...).Build()).Error(); err != nil {
			return err
		}
	}
	if len(next.add) > 0 {
		if err := conn.Do(ctx, conn.B().Subscribe().Channel(b.channels(next.add)...).Build()).Error(); err != nil {
			return err
		}
	}
	for owing := len(next.add) + len(next.remove); owing > 0; owing-- {
		select {
		case <-confirmed:
		case err := <-lost:
			return err
		case <-b.done:
			return errClosed
		case <-time.After(b.opts.MaxAge):
			return errors.New("redis: a subscription was not confirmed")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range next.add {
		c := b.topics[topic] // is there: only this goroutine removes it
		select {
		case <-c.active:
		default:
			close(c.active)
		}
	}
	return nil
}

func (b *Bus) channels(topics []string) []string {
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = b.opts.Prefix + topic
	}
	return names
}

// deliver passes a message to those who listen.
func (b *Bus) deliver(topic, text string) {
	b.mu.Lock()
	var listeners []*listening
	if c := b.topics[topic]; c != nil && !b.closed {
		listeners = c.listeners // not changed in place
	}
	b.mu.Unlock()
	if len(listeners) == 0 {
		return
	}
	data := []byte(text)
	b.calls.Lock()
	defer b.calls.Unlock()
	for _, l := range listeners {
		l.deliver(data)
	}
}
