package nodewire_test

import (
	"fmt"
	"testing"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/adapter/redis/redistest"
)

// Servers that change from a wire of Node.js to Parley's own protocol are one cluster meanwhile: one of them sends by
// the new one already, and all receive by both.
func TestChangeToNative(t *testing.T) {
	options := rueidis.ClientOption{InitAddress: []string{redistest.Start(t).Addr}}
	n := 0
	for name, wire := range map[string]func(rueidis.ClientOption, *nodewire.Options) (*nodewire.Cluster, error){
		"classic": nodewire.Classic, "sharded": nodewire.Sharded,
	} {
		t.Run(name, func(t *testing.T) {
			adaptertest.RunCluster(t, nil, func(t *testing.T) adaptertest.Servers {
				n++
				key := fmt.Sprintf("both%d", n)
				return adaptertest.Servers{Anonymous: true, Steps: 100, Start: func(name string) adapter.Cluster {
					old, err := wire(options, &nodewire.Options{Key: key, Name: name, Logger: quiet})
					if err != nil {
						t.Fatal(err)
					}
					bus, err := redis.New(options, &redis.Options{Prefix: key + ":", Logger: quiet})
					if err != nil {
						t.Fatal(err)
					}
					native, err := adapter.New(bus, &adapter.Options{Name: name, Logger: quiet})
					if err == nil {
						err = native.Join(t.Context())
					}
					if err != nil {
						t.Fatal(err)
					}
					if name == "a" {
						return adapter.Both(native, old)
					}
					return adapter.Both(old, native)
				}}
			})
		})
	}
}
