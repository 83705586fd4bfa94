package redis_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/redistest"
)

// After the client's end, two things of it sleep on: a lookup that was put off, for a second at most, and
// what closes connections that it has replaced, for 5 s.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

var quiet = slog.New(slog.DiscardHandler)

func connect(t *testing.T, s *redistest.Server) *redis.Bus {
	t.Helper()
	return connectTo(t, rueidis.ClientOption{InitAddress: []string{s.Addr}})
}

func connectTo(t *testing.T, options rueidis.ClientOption) *redis.Bus {
	t.Helper()
	b, err := redis.New(options, &redis.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBus(t *testing.T) {
	server := redistest.Start(t)
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		return adaptertest.Network{Connect: func() adapter.Bus { return connect(t, server) }}
	})
}

func TestCluster(t *testing.T) {
	server := redistest.Start(t)
	runCluster(t, rueidis.ClientOption{InitAddress: []string{server.Addr}}, false)
}

// runCluster runs the suite with servers on one Redis.
func runCluster(t *testing.T, options rueidis.ClientOption, perTopic bool) {
	n := 0
	adaptertest.RunCluster(t, nil, func(t *testing.T) adaptertest.Servers {
		n++
		prefix := fmt.Sprintf("test%d:", n)
		return adaptertest.Servers{Steps: 300, PerTopic: perTopic, Start: func(name string) adapter.Cluster {
			b, err := redis.New(options, &redis.Options{Logger: quiet, Prefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			c, err := adapter.New(b, &adapter.Options{Name: name, Logger: quiet, MaxHold: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}}
	})
}

// Whatever ends a connection, it comes back, and both the receiver and the sender know of the hole.
func TestConnectionLost(t *testing.T) {
	for name, hit := range map[string]func(*redistest.Server){
		"killed":     func(s *redistest.Server) { s.Restart() },
		"subscriber": func(s *redistest.Server) { s.Do("CLIENT KILL TYPE pubsub") },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			a, b := connect(t, server), connect(t, server)
			kept := make(chan struct{}, 1000)
			l := b.Listen("kept", func([]byte) {
				select {
				case kept <- struct{}{}:
				default:
				}
			})
			<-l.Active()
			for range 2 {
				seen := adaptertest.Watch(b)
				hit(server)
				adaptertest.Eventually(t, "Down", seen.Saw(adapter.Down))
				adaptertest.Eventually(t, "Up", seen.Saw(adapter.Up))
				adaptertest.Hears(t, a, b, "new")
				adaptertest.Eventually(t, "what was listened to before", func() bool {
					_ = a.Publish("kept", []byte("word"))
					select {
					case <-kept:
						return true
					case <-time.After(50 * time.Millisecond):
						return false
					}
				})
			}
		})
	}
}

// A server that hangs makes Publish neither wait nor pile up without bounds.
func TestRedisHangs(t *testing.T) {
	server := redistest.Start(t)
	b, err := redis.New(rueidis.ClientOption{InitAddress: []string{server.Addr}, ConnWriteTimeout: time.Second},
		&redis.Options{Logger: quiet, MaxQueue: 1 << 20, MaxAge: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	seen := adaptertest.Watch(b)
	server.Pause()
	defer server.Resume()
	refused := 0
	for range 200 {
		switch err := b.Publish("topic", make([]byte, 64<<10)); err {
		case nil:
		case adapter.ErrFull:
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("12 MB were queued, of 1 MB allowed")
	}
	adaptertest.Eventually(t, "that messages were not sent", seen.Saw(adapter.Unsent))
	server.Resume()
	adaptertest.Hears(t, b, b, "after")
}

func TestNoRedis(t *testing.T) {
	if _, err := redis.New(rueidis.ClientOption{InitAddress: []string{"127.0.0.1:1"}}, nil); err == nil {
		t.Error("a Redis that does not exist was accepted")
	}
}
