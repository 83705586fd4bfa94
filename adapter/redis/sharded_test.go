package redis_test

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/redistest"
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
