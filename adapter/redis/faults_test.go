package redis_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/internal/proxytest"
	"github.com/parley-go/parley/internal/soak"
)

// faulty is three servers on a Redis that is going to fail. Each reaches it through a proxy of its own.
type faulty struct {
	*adaptertest.Traffic
	t       *testing.T
	servers []*adapter.Native
	proxies []*proxytest.Proxy
}

// fail starts three servers that send to each other all the time.
func fail(t *testing.T, options rueidis.ClientOption) *faulty {
	t.Helper()
	f := &faulty{t: t}
	for i := range 3 {
		proxy := proxytest.New(t)
		options := options
		options.ConnWriteTimeout = soakTime(time.Second, 5*time.Second)
		options.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return proxy.Dial(ctx, d, addr)
		}
		bus, err := redis.New(options, &redis.Options{Logger: quiet, MaxAge: soakTime(time.Second, 5*time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		n, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint("server ", i), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		f.servers, f.proxies = append(f.servers, n), append(f.proxies, proxy)
	}
	f.Traffic = adaptertest.NewTraffic(t, clusters(f.servers)...)
	for _, n := range f.servers { // or down would take one that has just joined for one that has noticed
		adaptertest.Eventually(t, "the bus is up", func() bool { return n.Stats().Up })
	}
	return f
}

func clusters(servers []*adapter.Native) (all []adapter.Cluster) {
	for _, n := range servers {
		all = append(all, n)
	}
	return all
}

// soakTime returns a time for "make test", or a longer one for "make soak".
func soakTime(short, long time.Duration) time.Duration {
	if soak.On() {
		return long
	}
	return short
}

// over waits until everybody hears everybody again, and ends the traffic. What was lost, they know.
func (f *faulty) over() {
	f.t.Helper()
	back := time.Now()
	f.Flows()
	f.t.Logf("everything flows again after %v", time.Since(back).Round(10*time.Millisecond))
	for i, n := range f.servers {
		adaptertest.Eventually(f.t, "each server knows the others", func() bool { return len(n.Nodes()) == len(f.servers) })
		adaptertest.Eventually(f.t, "the bus is up", func() bool { return n.Stats().Up })
		if s := n.Stats(); s.Malformed > 0 {
			f.t.Errorf("server %d: %+v", i, s)
		}
	}
	lost := f.Stop()
	f.t.Logf("%d messages were lost, and everybody knows", lost)
}

// gapped waits until each server has been told that it may have missed something.
func (f *faulty) gapped() {
	f.t.Helper()
	for i := range f.servers {
		adaptertest.Eventually(f.t, "a server knows of a gap", func() bool { return f.Gaps(i) > 0 })
	}
}

// down waits until a server knows that the bus is away, or does not hear the others.
func (f *faulty) down(server int) {
	f.t.Helper()
	n := f.servers[server]
	adaptertest.Eventually(f.t, "a server notices", func() bool { return !n.Stats().Up || len(n.Nodes()) < len(f.servers) })
}

// Each fault of a single Redis. These tests take seconds because the timeouts do.
func TestFaults(t *testing.T) {
	type fault func(t *testing.T, s *redistest.Server, f *faulty)
	for name, run := range map[string]fault{
		"Killed": func(t *testing.T, s *redistest.Server, f *faulty) {
			s.Stop()
			f.down(0)
			f.Sends()
			time.Sleep(soakTime(3*time.Second, time.Minute))
			s.Restart()
			f.gapped()
		},
		"Paused": func(t *testing.T, s *redistest.Server, f *faulty) {
			f.Late = true
			s.Pause()
			defer s.Resume()
			time.Sleep(soakTime(3*time.Second, 30*time.Second))
			f.Sends()
		},
		"SubscribersKilled": func(t *testing.T, s *redistest.Server, f *faulty) {
			for range soak.Times(3, 100) {
				s.Do("CLIENT KILL TYPE pubsub")
				f.Flows()
			}
			f.gapped()
		},
		"PublishersKilled": func(t *testing.T, s *redistest.Server, f *faulty) {
			for range soak.Times(3, 100) {
				s.Do("CLIENT KILL TYPE normal")
				f.Flows()
			}
		},
		"HalfOpen": func(t *testing.T, s *redistest.Server, f *faulty) {
			f.proxies[0].Swallow(true)
			f.down(0)
			f.down(1)
			f.Sends()
			time.Sleep(soakTime(0, 20*time.Second))
			f.proxies[0].Swallow(false)
			adaptertest.Eventually(t, "the others know that they may have missed something", func() bool { return f.Gaps(1) > 0 && f.Gaps(2) > 0 })
		},
		"Cut": func(t *testing.T, s *redistest.Server, f *faulty) {
			for range soak.Times(5, 100) {
				f.proxies[0].Cut()
				f.Flows()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			f := fail(t, rueidis.ClientOption{InitAddress: []string{s.Addr}})
			run(t, s, f)
			f.over()
		})
	}
}

// A server that reads too slowly is cut by Redis. It connects again and knows of the hole, and nobody keeps
// what it has not read.
func TestBufferOverrun(t *testing.T) {
	s := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 0")
	f := fail(t, rueidis.ClientOption{InitAddress: []string{s.Addr}})
	f.servers[0].Hear("flood", func(adapter.Node, []byte) {})
	before, gaps := memory(), f.Gaps(0)
	f.proxies[0].Stall(true)
	adaptertest.Eventually(t, "Redis cuts the slow server", func() bool {
		for range 10 {
			_ = f.servers[1].Send("flood", make([]byte, 256<<10))
		}
		return strings.Count(s.Do("CLIENT LIST TYPE pubsub"), "id=") < len(f.servers)
	})
	f.proxies[0].Stall(false)
	adaptertest.Eventually(t, "the slow server knows of a gap", func() bool { return f.Gaps(0) > gaps })
	f.over()
	if grown := memory() - before; grown > 64<<20 {
		t.Errorf("it holds %d MB more than before", grown>>20)
	}
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
