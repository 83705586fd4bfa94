package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// MasterSet is the name under which Sentinels watches its master.
const MasterSet = "parley"

// Sentinels is a master, a replica of it, and the sentinels that watch over them.
type Sentinels struct {
	Master, Replica *Server
	Sentinels       []*Server

	t testing.TB
}

// StartSentinels starts a master, a replica, and n sentinels. When the master has died, the replica takes
// its place a few seconds later.
func StartSentinels(t testing.TB, n int) *Sentinels {
	t.Helper()
	replication := []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}
	s := &Sentinels{t: t, Master: Start(t, replication...)}
	s.Replica = Start(t, append(replication, "--replicaof", "127.0.0.1 "+port(s.Master.Addr))...)
	eventually(t, "the replica follows its master", s.Replica.Answers("INFO replication", "master_link_status:up"))
	for range n {
		s.Sentinels = append(s.Sentinels, start(t, "+monitor", func(dir string) []string {
			file := filepath.Join(dir, "sentinel.conf")
			text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s %d\nsentinel down-after-milliseconds %[1]s 2000\nsentinel failover-timeout %[1]s 5000\n",
				MasterSet, port(s.Master.Addr), n/2+1)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{file, "--sentinel"}
		}))
	}
	for _, each := range s.Sentinels {
		eventually(t, "the sentinel knows the replica and the others", func() bool {
			return each.Answers("INFO sentinel", fmt.Sprintf("status=ok,address=%s,slaves=1,sentinels=%d", s.Master.Addr, n))()
		})
	}
	return s
}

// Addrs returns the addresses of the sentinels.
func (s *Sentinels) Addrs() (addrs []string) {
	for _, each := range s.Sentinels {
		addrs = append(addrs, each.Addr)
	}
	return addrs
}

// Failover makes the replica the master, while both live. A sentinel that has just learned of the replica
// refuses that for a moment, because it does not know how far the replica is.
func (s *Sentinels) Failover() {
	s.t.Helper()
	eventually(s.t, "the sentinel begins a failover", func() bool {
		return s.Sentinels[0].Do("SENTINEL FAILOVER "+MasterSet) == "+OK"
	})
}
