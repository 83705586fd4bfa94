package pubsub

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"
	"unsafe"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
)

// Subscription implements adapter.Listening.
type Subscription struct {
	conn    *Conn
	name    name
	deliver func(channel string, data []byte)
	active  <-chan struct{}
	closed  bool // guarded by conn.mu
}

// Active implements adapter.Listening.
func (l *Subscription) Active() <-chan struct{} { return l.active }

// Subscribe calls deliver with what is published to a channel, or to all whose names match a pattern.
// It makes one call at a time.
func (b *Conn) Subscribe(text string, pattern bool, deliver func(channel string, data []byte)) adapter.Listening {
	topic := name{text, pattern}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.subs[topic]
	if c == nil {
		c = &subscribed{active: make(chan struct{})}
		b.subs[topic] = c
	}
	l := &Subscription{conn: b, name: topic, deliver: deliver, active: c.active}
	c.listeners = append(slices.Clip(c.listeners), l)
	b.stirLocked(topic)
	return l
}

// Listen calls deliver with what is published to a channel, as adapter.Bus does.
func (b *Conn) Listen(channel string, deliver func(data []byte)) adapter.Listening {
	return b.Subscribe(channel, false, func(_ string, data []byte) { deliver(data) })
}

// Close implements adapter.Listening.
func (l *Subscription) Close() {
	b := l.conn
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	c := b.subs[l.name]
	c.listeners = slices.DeleteFunc(slices.Clone(c.listeners), func(other *Subscription) bool { return other == l })
	b.stirLocked(l.name)
}

// stirLocked makes the receiving goroutine look at a channel or pattern.
func (b *Conn) stirLocked(topic name) {
	b.dirty = append(b.dirty, topic)
	signal(b.stirred)
}

// change is a batch to subscribe and to unsubscribe.
type change struct{ add, remove []name }

// nextChange returns what has to change on the current connection.
func (b *Conn) nextChange() (next change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, topic := range b.dirty {
		if len(next.add) == maxChannels || len(next.remove) == maxChannels {
			break
		}
		n++
		switch c := b.subs[topic]; {
		case c == nil:
		case len(c.listeners) > 0 && !c.heard:
			c.heard = true // it will be, or the connection ends
			next.add = append(next.add, topic)
		case len(c.listeners) == 0 && c.heard:
			c.heard = false
			next.remove = append(next.remove, topic)
			delete(b.subs, topic)
		case len(c.listeners) == 0:
			delete(b.subs, topic)
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
func (b *Conn) receive() {
	pause, failures := time.Duration(0), 0
	for first := true; ; first = false {
		select {
		case <-b.done:
			return
		case <-time.After(pause):
		}
		connected, err := b.hear(!first)
		if connected {
			b.tell(adapter.Down)
			failures = 0
		}
		if errors.Is(err, errClosed) {
			return
		}
		b.board.Post(slog.LevelWarn, "lost", "the connection to Redis is lost", "error", err)
		// From the second failure on, wait: 1, 2, 3 s, and less at random. A client that still has to
		// learn where a slot is does so within a second.
		pause = max(50*time.Millisecond, time.Duration(min(failures, 3))*time.Second)
		if moved, ok := rueidis.IsRedisErr(err); ok && isMoved(moved) {
			pause = 200 * time.Millisecond
		}
		pause -= time.Duration(rand.Int64N(int64(pause) / 4))
		failures++
	}
}

func isMoved(err *rueidis.RedisError) bool {
	_, moved := err.IsMoved()
	return moved
}

// hear receives on one connection until that ends. again says that there was one before. connected
// reports whether everything was subscribed.
func (b *Conn) hear(again bool) (connected bool, err error) {
	conn, release := b.client.Dedicate()
	defer release()
	confirmed := make(chan string, 4*maxChannels)
	moved := make(chan struct{}, 1)
	lost := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) {
			if m.Pattern != "" {
				b.deliver(name{m.Pattern, true}, m.Channel, m.Message)
			} else {
				b.deliver(name{m.Channel, false}, m.Channel, m.Message)
			}
		},
		OnSubscription: func(s rueidis.PubSubSubscription) {
			if b.opts.Sharded { // commands tell that they have been confirmed
				if s.Kind == "sunsubscribe" && b.subscribed(s.Channel) {
					signal(moved)
				}
				return
			}
			select {
			case confirmed <- s.Channel:
			case <-b.done:
			}
		},
	})
	if b.client.Mode() == rueidis.ClientModeCluster && !b.opts.Sharded {
		// A command with a key makes it a connection to a master. Servers on Node.js count only clients of masters.
		conn.Do(context.Background(), conn.B().Exists().Key("parley").Build())
	}
	b.mu.Lock()
	b.deaf = conn.Close
	b.dirty = nil
	for topic, c := range b.subs {
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
		case <-moved:
			return connected, errors.New("redis: the slot has moved")
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
				if b.client.Mode() != rueidis.ClientModeStandalone {
					// Another server may have taken over, and the old one what we sent meanwhile.
					b.tell(adapter.Unsent)
				}
			}
		}
	}
}

// apply subscribes and unsubscribes, and waits until Redis has confirmed it.
func (b *Conn) apply(conn rueidis.DedicatedClient, next change, confirmed <-chan string, lost <-chan error) error {
	if len(next.add)+len(next.remove) == 0 {
		return nil
	}
	for _, r := range conn.DoMulti(context.Background(), b.commands(conn, next)...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	for owing := len(next.add) + len(next.remove); owing > 0 && !b.opts.Sharded; owing-- {
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
		c := b.subs[topic] // is there: only this goroutine removes it
		select {
		case <-c.active:
		default:
			close(c.active)
		}
	}
	return nil
}

// commands returns what subscribes and unsubscribes.
func (b *Conn) commands(conn rueidis.DedicatedClient, next change) (all rueidis.Commands) {
	if b.opts.Sharded { // one command each: with several, a slot that moves meanwhile confuses the client
		for _, n := range next.remove {
			all = append(all, conn.B().Sunsubscribe().Channel(n.text).Build())
		}
		for _, n := range next.add {
			all = append(all, conn.B().Ssubscribe().Channel(n.text).Build())
		}
		return all
	}
	if names := texts(next.remove, false); len(names) > 0 {
		all = append(all, conn.B().Unsubscribe().Channel(names...).Build())
	}
	if names := texts(next.remove, true); len(names) > 0 {
		all = append(all, conn.B().Punsubscribe().Pattern(names...).Build())
	}
	if names := texts(next.add, false); len(names) > 0 {
		all = append(all, conn.B().Subscribe().Channel(names...).Build())
	}
	if names := texts(next.add, true); len(names) > 0 {
		all = append(all, conn.B().Psubscribe().Pattern(names...).Build())
	}
	return all
}

// subscribed reports whether a channel is meant to be subscribed on the current connection.
func (b *Conn) subscribed(channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.subs[name{channel, false}]
	return c != nil && c.heard
}

// texts returns the channels, or the patterns, among some names.
func texts(names []name, pattern bool) (all []string) {
	for _, n := range names {
		if n.pattern == pattern {
			all = append(all, n.text)
		}
	}
	return all
}

// deliver passes a message to those who listen.
func (b *Conn) deliver(topic name, channel, text string) {
	b.mu.Lock()
	var listeners []*Subscription
	if c := b.subs[topic]; c != nil && !b.closed {
		listeners = c.listeners // not changed in place
	}
	b.mu.Unlock()
	if len(listeners) == 0 {
		return
	}
	data := unsafe.Slice(unsafe.StringData(text), len(text)) // a message of its own, which nobody changes
	b.calls.Lock()
	defer b.calls.Unlock()
	for _, l := range listeners {
		l.deliver(channel, data)
	}
}
