package redistest

import (
	"fmt"
	"strings"
	"testing"
)

// Slots is how many slots a Redis Cluster has.
const Slots = 16384

// Cluster is a Redis Cluster.
type Cluster struct {
	Masters  []*Server // each with as many slots
	Replicas []*Server // as many as masters, in their order, or none

	t testing.TB
}

// StartCluster starts a Redis Cluster. With replicas, one of a master takes its place a few seconds after
// its death.
func StartCluster(t testing.TB, masters int, replicas bool) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	bus := map[*Server]string{}
	node := func() *Server {
		var port2 string
		s := start(t, "Ready to accept connections", func(string) []string {
			port2 = port(freeAddr(t))
			return []string{
				"--cluster-enabled", "yes", "--cluster-port", port2, "--cluster-node-timeout", "3000", "--cluster-replica-validity-factor", "0",
				"--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
			}
		})
		bus[s] = port2
		return s
	}
	for i := range masters {
		s := node()
		c.Masters = append(c.Masters, s)
		if got := s.Do(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*Slots/masters, (i+1)*Slots/masters-1)); got != "+OK" {
			t.Fatal(got)
		}
		s.Do(fmt.Sprint("CLUSTER SET-CONFIG-EPOCH ", i+1))
	}
	if replicas {
		for range masters {
			c.Replicas = append(c.Replicas, node())
		}
	}
	all := c.all()
	for _, s := range all[1:] {
		all[0].Do(fmt.Sprintf("CLUSTER MEET 127.0.0.1 %s %s", port(s.Addr), bus[s]))
	}
	for _, s := range all {
		eventually(t, "the servers know each other", s.Answers("CLUSTER INFO", fmt.Sprintf("cluster_known_nodes:%d\r", len(all))))
	}
	for i, s := range c.Replicas {
		id := c.Masters[i].Do("CLUSTER MYID")
		eventually(t, "a replica knows its master", s.Answers("CLUSTER REPLICATE "+id, "+OK"))
		eventually(t, "a replica follows its master", s.Answers("INFO replication", "master_link_status:up"))
	}
	for _, s := range all {
		eventually(t, "the cluster is complete", s.Answers("CLUSTER INFO", fmt.Sprintf("cluster_slots_ok:%d\r", Slots)))
		eventually(t, "the cluster works", s.Answers("CLUSTER INFO", "cluster_state:ok"))
		eventually(t, "each server knows who replicates", func() bool {
			nodes, err := s.ask("CLUSTER NODES")
			return err == nil && strings.Count(nodes, "slave ") == len(c.Replicas)
		})
	}
	return c
}

func (c *Cluster) all() []*Server { return append(append([]*Server(nil), c.Masters...), c.Replicas...) }

// Addrs returns the addresses of all servers.
func (c *Cluster) Addrs() (addrs []string) {
	for _, s := range c.all() {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// Move gives a slot without keys to another master. It does nothing if that has the slot.
func (c *Cluster) Move(slot int, to *Server) {
	c.t.Helper()
	id := to.Do("CLUSTER MYID")
	do := func(s *Server, command string) (done bool) {
		answer := s.Do(fmt.Sprintf("CLUSTER SETSLOT %d %s", slot, command))
		if answer != "+OK" && !strings.Contains(answer, "already the owner") {
			c.t.Fatal(answer)
		}
		return answer == "+OK"
	}
	// What is imported gives its new owner a higher epoch, without which the servers would not agree.
	for _, s := range c.Masters {
		if s != to && !do(to, "IMPORTING "+s.Do("CLUSTER MYID")) {
			return
		}
	}
	do(to, "NODE "+id)
	for _, s := range c.Masters {
		if s != to {
			do(s, "NODE "+id)
		}
	}
	epoch := func(s *Server) string {
		_, after, _ := strings.Cut(s.Do("CLUSTER INFO"), "cluster_current_epoch:")
		return strings.Fields(after)[0]
	}
	for _, s := range c.Masters { // or the next one may get an epoch that another one has had
		eventually(c.t, "the servers agree", func() bool { return epoch(s) == epoch(to) })
	}
}
