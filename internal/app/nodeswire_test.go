package app_test

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter/emitter"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/nodewire"
)

// A server hears the wire that it speaks, and the one that it shall receive as well.
func TestNodesReceive(t *testing.T) {
	n := newNodes(t)
	options := rueidis.MustParseURL(n.engine)
	senders := map[string]func() (*emitter.Emitter, error){
		"native": func() (*emitter.Emitter, error) {
			bus, err := redis.New(options, nil)
			if err != nil {
				return nil, err
			}
			return emitter.New(bus), nil
		},
		"redis-adapter":         func() (*emitter.Emitter, error) { return nodewire.ClassicEmitter(options, nil) },
		"redis-adapter-sharded": func() (*emitter.Emitter, error) { return nodewire.ShardedEmitter(options, nil) },
	}
	for _, wires := range [][2]string{{"redis-adapter", "native"}, {"native", "redis-adapter"}, {"redis-adapter-sharded", "native"}, {"native", "redis-adapter-sharded"}} {
		t.Run(wires[0]+" and "+wires[1], func(t *testing.T) {
			n := *n
			n.t, n.flags = t, []string{"--cluster-wire", wires[0], "--cluster-receive", wires[1]}
			client := (&instance{url: n.start("a").url}).dial(t)
			for _, wire := range wires {
				e, err := senders[wire]()
				if err != nil {
					t.Fatal(err)
				}
				if err := e.Emit("greeting", wire); err != nil {
					t.Fatal(err)
				}
				e.Close()
				expect(t, client, "greeting", func(from string) bool { return from == wire })
			}
		})
	}
}
