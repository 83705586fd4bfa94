package pubsub

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
	"unsafe"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
)

// Scattered is a connection to a Redis Cluster, by its sharded publish/subscribe, whose channels may be in any
// slots: another program has chosen their names. Each channel is subscribed to by itself, at the server that
// has its slot, and again when the slot moves. There is one connection to each server, and a goroutine for
// each channel. It is safe for concurrent use.
type Scattered struct {
	*Conn  // publishes, and knows the watchers
	ctx    context.Context
	cancel context.CancelFunc
	news   chan struct{} // holds one element if lost or gaps have changed

	mu       sync.Mutex
	channels map[string]*scattered
	lost     int // channels that were subscribed to, and are not any more
	gaps     int // how often a channel was lost
}

// scattered is a channel. Only its goroutine removes it.
type scattered struct {
	deliver func(channel string, data []byte)
	active  chan struct{} // closed when it is subscribed
	wanted  bool
	heard   bool // it is subscribed
	lost    bool // it was
}

// NewScattered returns a connection that uses a client of Connect, which Close closes.
func NewScattered(client rueidis.Client, o Options) *Scattered {
	o.Sharded = true
	s := &Scattered{Conn: On(client, o), channels: map[string]*scattered{}, news: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.ended.Go(s.report)
	return s
}

// Subscribe calls deliver with what is published to a channel. There are no patterns. A channel has one
// subscription at a time.
func (s *Scattered) Subscribe(channel string, _ bool, deliver func(channel string, data []byte)) adapter.Listening {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channel]
	if c == nil || !c.wanted && c.heard { // in the latter case it is about to be unsubscribed
		active := make(chan struct{})
		if c == nil {
			c = &scattered{}
			s.channels[channel] = c
			s.ended.Go(func() { s.keep(channel, c) })
		}
		c.active, c.heard = active, false
	}
	c.wanted, c.deliver = true, deliver
	return &scatteredListening{s, channel, c, c.active}
}

type scatteredListening struct {
	conn    *Scattered
	name    string
	channel *scattered
	active  <-chan struct{}
}

// Active implements adapter.Listening.
func (l *scatteredListening) Active() <-chan struct{} { return l.active }

// Close implements adapter.Listening.
func (l *scatteredListening) Close() {
	s := l.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.channel.wanted || l.channel.active != l.active {
		return
	}
	l.channel.wanted = false
	s.unsubscribe(l.name)
}

// unsubscribe ends Receive.
func (s *Scattered) unsubscribe(channel string) {
	s.ended.Go(func() { s.client.Do(s.ctx, s.client.B().Sunsubscribe().Channel(channel).Build()) })
}

// keep keeps a channel subscribed for as long as it is wanted.
func (s *Scattered) keep(channel string, c *scattered) {
	ctx := rueidis.WithOnSubscriptionHook(s.ctx, func(e rueidis.PubSubSubscription) {
		if e.Kind == "ssubscribe" {
			s.confirmed(channel, c)
		}
	})
	for pause := time.Duration(0); ; {
		select {
		case <-s.done:
			return
		case <-time.After(pause - time.Duration(rand.Int64N(int64(pause/4)+1))):
		}
		err := s.client.Receive(ctx, s.client.B().Ssubscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) {
			s.pass(c, m)
		})
		heard, wanted := s.unheard(channel, c)
		switch {
		case !wanted:
			return
		case heard:
			pause = 50 * time.Millisecond
		default:
			s.opts.Logger.Debug("a channel of the cluster cannot be subscribed to", "error", err)
			pause = min(max(2*pause, 50*time.Millisecond), 5*time.Second)
		}
	}
}

// pass passes a message to the one that listens.
func (s *Scattered) pass(c *scattered, m rueidis.PubSubMessage) {
	s.mu.Lock()
	deliver, wanted := c.deliver, c.wanted
	s.mu.Unlock()
	if !wanted {
		return
	}
	data := unsafe.Slice(unsafe.StringData(m.Message), len(m.Message)) // a message of its own, which nobody changes
	s.calls.Lock()
	defer s.calls.Unlock()
	deliver(m.Channel, data)
}

// confirmed notes that a channel is subscribed.
func (s *Scattered) confirmed(channel string, c *scattered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.heard = true
	if !c.wanted { // Close came first
		s.unsubscribe(channel)
	}
	select {
	case <-c.active:
	default:
		close(c.active)
	}
	s.regainLocked(c)
}

func (s *Scattered) regainLocked(c *scattered) {
	if c.lost {
		c.lost = false
		s.lost--
		signal(s.news)
	}
}

// unheard notes that a channel is not subscribed any more.
func (s *Scattered) unheard(channel string, c *scattered) (heard, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard, c.heard = c.heard, false
	if !c.wanted {
		s.regainLocked(c)
		delete(s.channels, channel)
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

// report tells the watchers what has changed.
func (s *Scattered) report() {
	down, gaps := false, 0
	for {
		select {
		case <-s.done:
			return
		case <-s.news:
		}
		s.mu.Lock()
		now, seen := s.lost > 0, s.gaps
		s.mu.Unlock()
		switch {
		case now && !down:
			s.tell(adapter.Down)
		case down && !now:
			s.tell(adapter.Up)
		case seen != gaps && !now:
			s.tell(adapter.Lost)
		}
		down, gaps = now, seen
	}
}

// Reconnect does nothing: there is no connection of its own.
func (s *Scattered) Reconnect() {}

// Close sends what is queued, waiting a second at most, and ends everything.
func (s *Scattered) Close() error {
	s.cancel()
	return s.Conn.Close()
}
