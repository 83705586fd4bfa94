package pubsub

import (
	"errors"
	"time"
	"unsafe"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
)

// A lane hears its own words every second, unless its connection has become deaf.
const (
	askEvery = time.Second
	deafTime = 4 * time.Second
)

// hear receives on one connection until that is lost.
func (b *Conn) hear(connected func()) error {
	conn, _ := b.client.Dedicate()
	defer conn.Close()
	confirmed := make(chan string, 4*driver.MaxChange)
	moved := make(chan struct{}, 1)
	lost := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) {
			if m.Pattern != "" {
				b.deliver(name{m.Pattern, true}, m)
			} else {
				b.deliver(name{m.Channel, false}, m)
			}
		},
		OnSubscription: func(s rueidis.PubSubSubscription) {
			if b.sharded { // commands tell that they have been confirmed
				if s.Kind == "sunsubscribe" && b.core.Heard(name{s.Channel, false}) {
					signal(moved)
				}
				return
			}
			select {
			case confirmed <- s.Channel:
			case <-b.core.Done():
			}
		},
	})
	if b.client.Mode() == rueidis.ClientModeCluster && !b.sharded {
		// A command with a key makes it a connection to a master. Servers on Node.js count only clients of masters.
		conn.Do(b.core.Late(), conn.B().Exists().Key("parley").Build())
	}
	b.core.EndWith(conn.Close)
	b.core.Renew()
	b.asked.Store(0)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for complete := false; ; {
		select {
		case <-b.core.Done():
			return nil
		case err := <-lost:
			return err
		case <-moved:
			return errors.New("redis: the slot has moved")
		case now := <-tick.C:
			if complete && !b.hears(now) {
				return errors.New("redis: the connection no longer delivers")
			}
			continue
		case <-b.core.Stirred():
		}
		add, remove := b.core.Change()
		if err := b.apply(conn, add, remove, confirmed, lost); err != nil {
			return err
		}
		if !b.core.Activate(add) || complete {
			continue
		}
		complete = true
		connected()
		if b.again && b.client.Mode() != rueidis.ClientModeStandalone {
			// Another server may have taken over, and the old one what we sent meanwhile.
			b.core.Tell(adapter.Unsent)
		}
		b.again = true
	}
}

// hears reports whether a lane hears its own words, and sends the next one.
func (b *Conn) hears(now time.Time) bool {
	switch asked := b.asked.Load(); {
	case b.probe == "":
	case asked == 0:
		b.asked.Store(now.UnixNano())
		_ = b.Publish(b.probe, []byte{}) // if it is not sent, it is not heard
	case now.Sub(time.Unix(0, asked)) > deafTime:
		return false
	}
	return true
}

// apply subscribes and unsubscribes, and waits until Redis has confirmed it.
func (b *Conn) apply(conn rueidis.DedicatedClient, add, remove []name, confirmed <-chan string, lost <-chan error) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	for _, r := range conn.DoMulti(b.core.Late(), b.commands(conn, add, remove)...) {
		if err := r.Error(); err != nil {
			if redis, ok := rueidis.IsRedisErr(err); ok {
				if _, moved := redis.IsMoved(); moved {
					return driver.Soon(err)
				}
			}
			return err
		}
	}
	for owing := len(add) + len(remove); owing > 0 && !b.sharded; owing-- {
		select {
		case <-confirmed:
		case err := <-lost:
			return err
		case <-b.core.Done():
			return adapter.ErrClosed
		case <-time.After(b.core.MaxAge):
			return errors.New("redis: a subscription was not confirmed")
		}
	}
	return nil
}

// commands returns what subscribes and unsubscribes.
func (b *Conn) commands(conn rueidis.DedicatedClient, add, remove []name) (all rueidis.Commands) {
	if b.sharded { // one command each: with several, a slot that moves meanwhile confuses the client
		for _, n := range remove {
			all = append(all, conn.B().Sunsubscribe().Channel(n.text).Build())
		}
		for _, n := range add {
			all = append(all, conn.B().Ssubscribe().Channel(n.text).Build())
		}
		return all
	}
	if names := texts(remove, false); len(names) > 0 {
		all = append(all, conn.B().Unsubscribe().Channel(names...).Build())
	}
	if names := texts(remove, true); len(names) > 0 {
		all = append(all, conn.B().Punsubscribe().Pattern(names...).Build())
	}
	if names := texts(add, false); len(names) > 0 {
		all = append(all, conn.B().Subscribe().Channel(names...).Build())
	}
	if names := texts(add, true); len(names) > 0 {
		all = append(all, conn.B().Psubscribe().Pattern(names...).Build())
	}
	return all
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
func (b *Conn) deliver(to name, m rueidis.PubSubMessage) {
	b.core.Deliver(to, m.Channel, unsafe.Slice(unsafe.StringData(m.Message), len(m.Message))) // a message of its own, which nobody changes
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
