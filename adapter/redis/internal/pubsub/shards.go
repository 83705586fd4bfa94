package pubsub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
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
	lanes  [len(LaneTags)]*Conn
	close  sync.Once
}

// NewShards returns a connection that uses a client of Connect, which Close closes. prefix begins the names
// of the channels.
func NewShards(client rueidis.Client, prefix string, o Options) (*Shards, error) {
	s := &Shards{client: client, prefix: prefix}
	own := "probe/" + rand.Text()
	test := client.B().Spublish().Channel(s.channel(0, own)).Message("").Build()
	if err, ok := rueidis.IsRedisErr(client.Do(context.Background(), test).Error()); ok && strings.Contains(err.Error(), "unknown command") {
		client.Close()
		return nil, errors.New("redis: this Redis Cluster has no sharded publish/subscribe, which is new in Redis 7")
	}
	for i, core := range driver.Lanes[name](o.Options, len(s.lanes)) {
		l := &Conn{core: core, client: client, sharded: true, probe: s.channel(i, own)}
		s.lanes[i] = l
		l.Listen(l.probe, func([]byte) { l.asked.Store(0) }) // only the servers' own words pass through all lanes
		core.Start(l.send, l.hear)
	}
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
func (s *Shards) Watch(f func(adapter.State)) (stop func()) { return s.lanes[0].Watch(f) }

// Reconnect replaces the connections that receive.
func (s *Shards) Reconnect() {
	for _, l := range s.lanes {
		l.Reconnect()
	}
}

// Close sends what is queued, waiting a second at most, and ends everything.
func (s *Shards) Close() error {
	s.close.Do(func() {
		var all sync.WaitGroup
		for _, l := range s.lanes {
			all.Go(func() { l.core.Close() })
		}
		all.Wait()
		s.client.Close()
	})
	return nil
}
