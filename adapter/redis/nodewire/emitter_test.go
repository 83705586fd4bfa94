package nodewire_test

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/emitter"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/adapter/redis/redistest"
)

func TestEmitters(t *testing.T) {
	options := rueidis.ClientOption{InitAddress: []string{redistest.Start(t).Addr}}
	type (
		cluster = func(rueidis.ClientOption, *nodewire.Options) (*nodewire.Cluster, error)
		outside = func(rueidis.ClientOption, *nodewire.Options) (*emitter.Emitter, error)
	)
	for _, test := range []struct {
		name    string
		cluster cluster
		emitter outside
		o       nodewire.Options
	}{
		{"classic", nodewire.Classic, nodewire.ClassicEmitter, nodewire.Options{}},
		{"interest", nodewire.Classic, nodewire.ClassicEmitter, nodewire.Options{Interest: nodewire.Rooms}},
		{"dynamic", nodewire.Sharded, nodewire.ShardedEmitter, nodewire.Options{Mode: nodewire.Dynamic}},
		{"private", nodewire.Sharded, nodewire.ShardedEmitter, nodewire.Options{Mode: nodewire.DynamicPrivate}},
		{"static", nodewire.Sharded, nodewire.ShardedEmitter, nodewire.Options{Mode: nodewire.Static}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := test.o
			o.Key, o.Logger = test.name, quiet
			var spaces []*adaptertest.Space
			for range 2 {
				c, err := test.cluster(options, &o)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				spaces = append(spaces, adaptertest.NewSpace(c, "/"))
			}
			e, err := test.emitter(options, &o)
			if err != nil {
				t.Fatal(err)
			}
			adaptertest.RunEmitter(t, e, spaces)
		})
	}
}
