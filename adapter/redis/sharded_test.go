package redis_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/internal/proxytest"
)

func TestShardedBus(t *testing.T) {
	c := redistest.StartCluster(t, 3, false)
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		return adaptertest.Network{Connect: func() adapter.Bus {
			b := connectTo(t, rueidis.ClientOption{InitAddress: c.Addrs()})
			if b.Caps().Order != adapter.PerTopic {
				t.Error("it does not use sharded publish/subscribe")
			}
			return b
		}}
	})
}

func TestShardedCluster(t *testing.T) {
	c := redistest.StartCluster(t, 3, false)
	runCluster(t, rueidis.ClientOption{InitAddress: c.Addrs()}, true)
}

// A lane notices by itself that it hears nothing, although its connection looks healthy. This takes seconds,
// as the probe does.
func TestDeafLane(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, false)
	proxy := proxytest.New(t)
	b := connectTo(t, rueidis.ClientOption{InitAddress: c.Addrs(), ConnWriteTimeout: time.Hour, DialCtxFn: func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return proxy.Dial(ctx, d, addr)
	}})
	adaptertest.Hears(t, b, b, "before")
	seen := adaptertest.Watch(b)
	proxy.Swallow(true)
	adaptertest.Eventually(t, "Down", seen.Saw(adapter.Down))
	proxy.Swallow(false)
	adaptertest.Eventually(t, "Up", seen.Saw(adapter.Up))
	adaptertest.Hears(t, b, b, "after")
}
