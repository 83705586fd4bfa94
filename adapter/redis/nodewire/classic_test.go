package nodewire_test

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/adapter/redis/redistest"
)

// After the end of the client library, two things of it sleep on: a lookup that was put off, for a second at
// most, and what closes connections that it has replaced, for 5 s.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

var quiet = slog.New(slog.DiscardHandler)

// The suite for clusters, on each wire.
func TestClassic(t *testing.T) {
	wires := map[string]*nodewire.Options{
		"classic": {}, "specific responses": {SpecificResponses: true}, "interest in rooms": {Interest: nodewire.Rooms, Linger: 10 * time.Millisecond},
	}
	runSuite(t, nodewire.Classic, wires, redistest.Start(t).Addr)
}

func TestSharded(t *testing.T) {
	wires := map[string]*nodewire.Options{}
	for _, mode := range []nodewire.Mode{nodewire.Dynamic, nodewire.DynamicPrivate, nodewire.Static} {
		wires[string(mode)] = &nodewire.Options{Mode: mode, Linger: 10 * time.Millisecond}
	}
	runSuite(t, nodewire.Sharded, wires, redistest.Start(t).Addr)
}

func runSuite(t *testing.T, connect func(rueidis.ClientOption, *nodewire.Options) (*nodewire.Cluster, error), wires map[string]*nodewire.Options, addresses ...string) {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(wires)) {
		t.Run(name, func(t *testing.T) {
			adaptertest.RunCluster(t, nil, func(t *testing.T) adaptertest.Servers {
				n++
				o := *wires[name]
				o.Key, o.Logger = fmt.Sprintf("test%d", n), quiet
				return adaptertest.Servers{Anonymous: true, Steps: 300, Start: func(name string) adapter.Cluster {
					o := o
					o.Name = name
					c, err := connect(rueidis.ClientOption{InitAddress: addresses}, &o)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}}
			})
		})
	}
}
