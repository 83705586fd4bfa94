package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/internal/pubsub"
	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/internal/soak"
)

// role waits until a server is a master or a replica.
func role(t *testing.T, s *redistest.Server, want string) {
	t.Helper()
	adaptertest.Eventually(t, "a server is "+want, s.Answers("INFO replication", "role:"+want))
}

// Sentinels make the replica the master, because the master has died or because they are told to. These
// tests take seconds because sentinels do.
func TestSentinel(t *testing.T) {
	for name, run := range map[string]func(s *redistest.Sentinels){
		"Died": func(s *redistest.Sentinels) { s.Master.Stop() },
		"Told": func(s *redistest.Sentinels) { s.Failover() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartSentinels(t, soak.Times(1, 3))
			f := fail(t, rueidis.ClientOption{InitAddress: s.Addrs(), Sentinel: rueidis.SentinelOption{MasterSet: redistest.MasterSet}})
			run(s)
			role(t, s.Replica, "master")
			f.Sends()
			f.Gapped()
			f.Over()
		})
	}
}

func failSharded(t *testing.T, replicas bool) (*redistest.Cluster, *adaptertest.Faulty) {
	t.Helper()
	c := redistest.StartCluster(t, 3, replicas)
	return c, fail(t, rueidis.ClientOption{InitAddress: c.Addrs()})
}

// Slots that move take their subscriptions with them.
func TestSlotsMoved(t *testing.T) {
	t.Parallel()
	c, f := failSharded(t, false)
	for range soak.Times(2, 50) {
		for i, tag := range pubsub.LaneTags {
			var slot int
			if _, err := fmt.Sscanf(c.Masters[0].Do("CLUSTER KEYSLOT {"+tag+"}"), ":%d", &slot); err != nil {
				t.Fatal(err)
			}
			c.Move(slot, c.Masters[(slot/(redistest.Slots/3)+1+i%2)%3])
		}
		f.Flows()
	}
	f.Gapped()
	f.Over()
}

// When a master dies, or is told to give way, its replica takes its slots.
func TestMasterOfSlots(t *testing.T) {
	for name, run := range map[string]func(c *redistest.Cluster){
		"Died":    func(c *redistest.Cluster) { c.Masters[1].Stop() },
		"Told":    func(c *redistest.Cluster) { c.Replicas[1].Do("CLUSTER FAILOVER") },
		"Stopped": func(c *redistest.Cluster) { c.Masters[1].Pause() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, f := failSharded(t, true)
			run(c)
			role(t, c.Replicas[1], "master")
			f.Sends()
			f.Over()
		})
	}
}

// While one of three masters hangs, what is sent over the others arrives.
func TestOneMasterHangs(t *testing.T) {
	t.Parallel()
	c, f := failSharded(t, false)
	f.Late = true
	c.Masters[1].Pause()
	f.AllDown() // one that has not lost anything yet would never know of a gap
	time.Sleep(soak.Time(0, 30*time.Second))
	f.FlowsIn(7) // of twenty rooms; about thirteen have lanes on the other masters
	c.Masters[1].Resume()
	f.Gapped()
	f.Over()
}

// A Redis Cluster can also pass everything to all of its servers, in the order of the sender.
func TestUnsharded(t *testing.T) {
	c := redistest.StartCluster(t, 3, true)
	options := rueidis.ClientOption{InitAddress: c.Addrs()}
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		return adaptertest.Network{Connect: func() adapter.Bus {
			b, err := redis.New(options, &redis.Options{Logger: quiet, Unsharded: true})
			if err != nil {
				t.Fatal(err)
			}
			if b.Caps().Order != adapter.PerSender {
				t.Error("it uses sharded publish/subscribe")
			}
			return b
		}}
	})
}
