package pubsub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/notice"
)

// LaneTags are hash tags whose slots divide the slots of a Redis Cluster evenly. Each is a lane: channels
// with it are in one slot, so that they are always on one server, and what is sent over them keeps its order.
// All servers must have the same.
var LaneTags = [...]string{"10", "3", "61", "43", "11", "2", "60", "42", "12", "1", "63", "41", "13", "0", "62", "40"}

// Shards is a connection to a Redis Cluster, by its sharded publish/subscribe. Each topic has a lane, and
// each lane is a Conn of its own: a server of the Redis Cluster that hangs concerns no other lanes, and
// a slot that moves only its own. It is safe for concurrent use.
type Shards struct {
	client rueidis.Client
	prefix string
	common common
	lanes  [len(LaneTags)]*lane
	done   chan struct{}
	ended  sync.WaitGroup

	mu       sync.Mutex
	down     int // lanes that are down
	watchers map[int]func(adapter.State)
	next     int
}

// lane is a Conn that listens to itself, since only the servers' own words pass through all lanes.
type lane struct {
	*Conn
	probe string // a channel
	down  bool   // guarded by Shards.mu
	asked atomic.Int64
}

// NewShards returns a connection that uses a client of Connect, which Close closes. prefix begins the names
// of the channels.
func NewShards(client rueidis.Client, prefix string, o Options) (*Shards, error) {
	o = o.complete()
	o.Sharded = true
	s := &Shards{client: client, prefix: prefix, done: make(chan struct{}), watchers: map[int]func(adapter.State){}}
	s.common.board = notice.New(o.Logger)
	own := "probe/" + rand.Text()
	test := client.B().Spublish().Channel(s.channel(0, own)).Message("").Build()
	if err, ok := rueidis.IsRedisErr(client.Do(context.Background(), test).Error()); ok && strings.Contains(err.Error(), "unknown command") {
		client.Close()
		return nil, errors.New("redis: this Redis Cluster has no sharded publish/subscribe, which is new in Redis 7")
	}
	for i := range s.lanes {
		l := &lane{Conn: start(client, o, o.MaxQueue/4*3, &s.common), probe: s.channel(i, own)}
		s.lanes[i] = l
		l.Watch(func(state adapter.State) { s.state(l, state) })
		l.Listen(l.probe, func([]byte) { l.asked.Store(0) })
	}
	s.ended.Go(s.ask)
	return s, nil
}

func (s *Shards) channel(lane int, topic string) string {
	return s.prefix + "{" + LaneTags[lane] + "}" + topic
}

// of returns the lane of a topic.
func (s *Shards) of(topic string) int {
	h := fnv.New32a()
	h.Write([]byte(topic))
	return int(h.Sum32() % uint32(len(LaneTags)))
}

// Publish queues data for a topic, as adapter.Bus does.
func (s *Shards) Publish(topic string, data []byte) error {
	n := s.of(topic)
	return s.lanes[n].Publish(s.channel(n, topic), data)
}

// Listen calls deliver with what is published to a topic. All lanes together make one call at a time.
func (s *Shards) Listen(topic string, deliver func(data []byte)) adapter.Listening {
	n := s.of(topic)
	return s.lanes[n].Listen(s.channel(n, topic), deliver)
}

// Lanes returns a topic for each lane. What is sent to a topic keeps its order with what is sent to the one
// of its lane.
func (s *Shards) Lanes() []string {
	topics := make([]string, len(s.lanes))
	for found, i := 0, 0; found < len(topics); i++ {
		topic := fmt.Sprint("lane/", i)
		if n := s.of(topic); topics[n] == "" {
			topics[n] = topic
			found++
		}
	}
	return topics
}

// Watch calls f when the state changes, as adapter.Bus does. It is Down while a lane is.
func (s *Shards) Watch(f func(adapter.State)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next
	s.next++
	s.watchers[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, id)
	}
}

// state receives news about a lane. Only one call is made at a time.
func (s *Shards) state(l *lane, news adapter.State) {
	s.mu.Lock()
	switch news {
	case adapter.Down:
		l.down = true
		if s.down++; s.down > 1 {
			s.mu.Unlock()
			return
		}
	case adapter.Up:
		l.down = false
		if s.down--; s.down > 0 {
			news = adapter.Lost
		}
	}
	var all []func(adapter.State)
	for id := range s.next {
		if f := s.watchers[id]; f != nil {
			all = append(all, f)
		}
	}
	s.mu.Unlock()
	for _, f := range all {
		f(news)
	}
}

const (
	askEvery = time.Second
	deafTime = 4 * time.Second
)

// ask finds lanes that no longer hear what is sent, and connects them again.
func (s *Shards) ask() {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
		}
		now := time.Now()
		for _, l := range s.lanes {
			s.mu.Lock()
			down := l.down
			s.mu.Unlock()
			asked := l.asked.Load()
			switch {
			case down:
				l.asked.Store(0)
			case asked == 0:
				l.asked.Store(now.UnixNano())
				_ = l.Publish(l.probe, []byte{})
			case now.Sub(time.Unix(0, asked)) > deafTime:
				l.asked.Store(0)
				s.common.board.Post(slog.LevelWarn, "deaf", "a part of the Redis Cluster no longer delivers; connecting again")
				l.Reconnect()
			}
		}
	}
}

// Reconnect replaces the connections that receive.
func (s *Shards) Reconnect() {
	for _, l := range s.lanes {
		l.Reconnect()
	}
}

// Close sends what is queued, waiting a second at most, and ends everything.
func (s *Shards) Close() error {
	s.mu.Lock()
	select {
	case <-s.done:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.done)
	clear(s.watchers)
	s.mu.Unlock()
	s.ended.Wait()
	var all sync.WaitGroup
	for _, l := range s.lanes {
		all.Go(func() { _ = l.Close() })
	}
	all.Wait()
	s.client.Close()
	return nil
}
