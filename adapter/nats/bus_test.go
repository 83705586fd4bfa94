package nats_test

import (
	"fmt"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func connect(t *testing.T, url string, o nats.Options) *nats.Bus {
	t.Helper()
	o.Logger = quiet
	b, err := nats.New(url, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBus(t *testing.T) {
	server := start(t, nil)
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		return adaptertest.Network{Connect: func() adapter.Bus { return connect(t, server.ClientURL(), nats.Options{}) }}
	})
}

func TestCluster(t *testing.T) {
	server := start(t, nil)
	n := 0
	adaptertest.RunCluster(t, nil, func(t *testing.T) adaptertest.Servers {
		n++
		prefix := fmt.Sprintf("test%d.", n)
		return adaptertest.Servers{Steps: 300, Start: func(name string) adapter.Cluster {
			c, err := adapter.New(connect(t, server.ClientURL(), nats.Options{Prefix: prefix}), &adapter.Options{Name: name, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}}
	})
}

// Buses that are connected to different servers of a cluster of NATS hear each other as soon as they say so.
func TestServersOfNATS(t *testing.T) {
	servers := startCluster(t, 3)
	n := 0
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		n++
		prefix, next := fmt.Sprintf("test%d.", n), 0
		return adaptertest.Network{Connect: func() adapter.Bus {
			next++
			return connect(t, servers[next%len(servers)].ClientURL(), nats.Options{Prefix: prefix})
		}}
	})
}
