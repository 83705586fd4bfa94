package redis_test

import (
	"context"
	"crypto/tls"
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

// fail starts three servers that send to each other all the time.
func fail(t *testing.T, options rueidis.ClientOption) *adaptertest.Faulty {
	t.Helper()
	return adaptertest.Fail(t, adapter.Options{Logger: quiet}, func(_ int, proxy *proxytest.Proxy) adapter.Bus {
		options := options
		options.ConnWriteTimeout = soak.Time(time.Second, 5*time.Second)
		options.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return proxy.Dial(ctx, d, addr)
		}
		bus, err := redis.New(options, &redis.Options{Logger: quiet, MaxAge: soak.Time(time.Second, 5*time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		return bus
	})
}

// Each fault of a single Redis. These tests take seconds because the timeouts do.
func TestFaults(t *testing.T) {
	type fault func(t *testing.T, s *redistest.Server, f *adaptertest.Faulty)
	for name, run := range map[string]fault{
		"Killed": func(_ *testing.T, s *redistest.Server, f *adaptertest.Faulty) {
			f.Outage(s.Stop, s.Restart, soak.Time(3*time.Second, time.Minute))
		},
		"Paused": func(t *testing.T, s *redistest.Server, f *adaptertest.Faulty) {
			f.Late = true
			s.Pause()
			defer s.Resume()
			time.Sleep(soak.Time(3*time.Second, 30*time.Second))
			f.Sends()
		},
		"SubscribersKilled": func(t *testing.T, s *redistest.Server, f *adaptertest.Faulty) {
			for range soak.Times(3, 100) {
				s.Do("CLIENT KILL TYPE pubsub")
				f.Flows()
			}
			f.Gapped()
		},
		"PublishersKilled": func(t *testing.T, s *redistest.Server, f *adaptertest.Faulty) {
			for range soak.Times(3, 100) {
				s.Do("CLIENT KILL TYPE normal")
				f.Flows()
			}
		},
		"HalfOpen": func(_ *testing.T, _ *redistest.Server, f *adaptertest.Faulty) { f.HalfOpen() },
		"Cut":      func(_ *testing.T, _ *redistest.Server, f *adaptertest.Faulty) { f.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			f := fail(t, rueidis.ClientOption{InitAddress: []string{s.Addr}})
			run(t, s, f)
			f.Over()
		})
	}
}

// A server that reads too slowly is cut by Redis. It connects again and knows of the hole, and nobody keeps
// what it has not read.
func TestBufferOverrun(t *testing.T) {
	s := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 0")
	f := fail(t, rueidis.ClientOption{InitAddress: []string{s.Addr}})
	f.Servers[0].Hear("flood", func(adapter.Node, []byte) {})
	before, gaps := memory(), f.Gaps(0)
	f.Proxies[0].Stall(true)
	adaptertest.Eventually(t, "Redis cuts the slow server", func() bool {
		for range 10 {
			_ = f.Servers[1].Send("flood", make([]byte, 256<<10))
		}
		return strings.Count(s.Do("CLIENT LIST TYPE pubsub"), "id=") < len(f.Servers)
	})
	f.Proxies[0].Stall(false)
	adaptertest.Eventually(t, "the slow server knows of a gap", func() bool { return f.Gaps(0) > gaps })
	f.Over()
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
