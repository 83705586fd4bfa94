package pubsub

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
)

// Scattered is a connection to a Redis Cluster, by its sharded publish/subscribe, whose channels may be in any
// slots: another program has chosen their names. Each channel is subscribed to by itself, at the server that
// has its slot, and again when the slot moves. There is one connection to each server, and a goroutine for
// each channel. It is safe for concurrent use.
type Scattered struct {
	*Conn // publishes, and knows who listens
	ctx   context.Context
	stop  context.CancelFunc
	ended sync.WaitGroup
	news  chan struct{} // holds one element if lost or gaps have changed

	mu       sync.Mutex
	channels map[string]*scattered
	lost     int // channels that were subscribed to, and are not any more
	gaps     int // how often a channel was lost, since the watchers were told
}

// scattered is a channel. Only its goroutine removes it.
type scattered struct {
	wanted bool
	heard  bool // it is subscribed
	lost   bool // it was
}

// NewScattered returns a connection that uses a client of Connect, which Close closes.
func NewScattered(client rueidis.Client, o Options) *Scattered {
	s := &Scattered{
		Conn:     &Conn{core: driver.New[name](o.Options), client: client, sharded: true},
		channels: map[string]*scattered{}, news: make(chan struct{}, 1),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.core.Start(s.send, s.hear)
	return s
}

// hear subscribes and unsubscribes, until a channel is lost.
func (s *Scattered) hear(connected func()) error {
	for up := false; ; {
		s.mu.Lock()
		lost, gaps := s.lost, s.gaps
		s.gaps = 0
		s.mu.Unlock()
		switch {
		case lost > 0 && up:
			return errors.New("redis: a channel is not subscribed any more")
		case lost == 0 && !up:
			up = true
			connected()
		case lost == 0 && gaps > 0:
			s.core.Tell(adapter.Lost)
		}
		select {
		case <-s.core.Done():
			return nil
		case <-s.news:
		case <-s.core.Stirred():
			s.change()
		}
	}
}

// change follows what is listened to.
func (s *Scattered) change() {
	s.mu.Lock()
	defer s.mu.Unlock()
	add, remove := s.core.Change()
	for _, n := range remove {
		s.channels[n.text].wanted = false
		s.unsubscribe(n.text)
	}
	for _, n := range add {
		c := s.channels[n.text]
		if c == nil {
			c = &scattered{}
			s.channels[n.text] = c
			s.ended.Go(func() { s.keep(n, c) })
		}
		c.wanted, c.heard = true, false // if it is heard, it is about to be unsubscribed
	}
}

// unsubscribe ends Receive.
func (s *Scattered) unsubscribe(channel string) {
	s.ended.Go(func() { s.client.Do(s.ctx, s.client.B().Sunsubscribe().Channel(channel).Build()) })
}

// keep keeps a channel subscribed for as long as it is wanted.
func (s *Scattered) keep(n name, c *scattered) {
	ctx := rueidis.WithOnSubscriptionHook(s.ctx, func(e rueidis.PubSubSubscription) {
		if e.Kind == "ssubscribe" {
			s.confirmed(n, c)
		}
	})
	for pause := time.Duration(0); ; {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pause - time.Duration(rand.Int64N(int64(pause/4)+1))):
		}
		err := s.client.Receive(ctx, s.client.B().Ssubscribe().Channel(n.text).Build(), func(m rueidis.PubSubMessage) { s.deliver(n, m) })
		heard, wanted := s.unheard(n, c)
		switch {
		case !wanted:
			return
		case heard:
			pause = 50 * time.Millisecond
		default:
			s.core.Logger.Debug("a channel of the cluster cannot be subscribed to", "error", err)
			pause = min(max(2*pause, 50*time.Millisecond), 5*time.Second)
		}
	}
}

// confirmed notes that a channel is subscribed.
func (s *Scattered) confirmed(n name, c *scattered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.heard = true
	s.regainLocked(c)
	if c.wanted {
		s.core.Activate([]name{n})
	} else { // Close came first
		s.unsubscribe(n.text)
	}
}

func (s *Scattered) regainLocked(c *scattered) {
	if c.lost {
		c.lost = false
		s.lost--
		signal(s.news)
	}
}

// unheard notes that a channel is not subscribed any more.
func (s *Scattered) unheard(n name, c *scattered) (heard, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard, c.heard = c.heard, false
	if !c.wanted {
		s.regainLocked(c)
		delete(s.channels, n.text)
		return heard, false
	}
	if heard && !c.lost {
		c.lost = true
		s.lost++
		s.gaps++
		signal(s.news)
	}
	return heard, true
}

// Close sends what is queued, waiting a second at most, and ends everything.
func (s *Scattered) Close() error {
	s.stop()
	if s.core.Close() {
		s.ended.Wait()
		s.client.Close()
	}
	return nil
}
