package adapter_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func TestMemory(t *testing.T) {
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		net := adapter.NewMemory()
		net.Delay = time.Millisecond
		return adaptertest.Network{
			Connect: func() adapter.Bus { return net.Connect() },
			Cut:     func(b adapter.Bus, cut bool) { b.(*adapter.MemoryBus).Cut(cut) },
		}
	})
}

// servers makes servers on a network of their own.
func servers(t *testing.T, setUp func(*adapter.Native)) adaptertest.Servers {
	net := adapter.NewMemory()
	net.Delay = time.Millisecond
	buses := map[adapter.Cluster]*adapter.MemoryBus{}
	return adaptertest.Servers{
		Start: func(name string) adapter.Cluster {
			bus := net.Connect()
			n, err := adapter.New(bus, &adapter.Options{Name: name, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			buses[n] = bus
			if setUp != nil {
				setUp(n)
			}
			return n
		},
		Kill: func(c adapter.Cluster) { buses[c].Cut(true) },
		Cut:  func(c adapter.Cluster, cut bool) { buses[c].Cut(cut) },
	}
}

func TestNative(t *testing.T) {
	adaptertest.RunCluster(t, synctest.Test, func(t *testing.T) adaptertest.Servers { return servers(t, nil) })
}

// Without the rules, the suite fails.
func TestTheSuiteFails(t *testing.T) {
	for name, breaks := range map[string]func(*adapter.Native){
		"JoinThenHear": func(n *adapter.Native) { n.Careless(true, false) },
		"JoinThenEmit": func(n *adapter.Native) { n.Careless(false, true) },
	} {
		for _, test := range []string{name, "Model"} {
			synctest.Test(t, func(t *testing.T) {
				if err := adaptertest.Try(test, servers(t, breaks)); err == nil {
					t.Errorf("without the rule of %s, %s passes", name, test)
				} else {
					t.Logf("%s: %.200s", test, err)
				}
			})
		}
	}
}
