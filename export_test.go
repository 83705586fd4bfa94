package parley

import "time"

// RecoveryForTest lets a test look into a recovery log.
type RecoveryForTest struct{ r *recovery }

func NewRecoveryForTest(o *Recovery) RecoveryForTest { return RecoveryForTest{newRecovery(o)} }

// Leave has a socket leave, after one event.
func (t RecoveryForTest) Leave(pid string) {
	s := &Socket{pid: pid}
	t.r.mu.Lock()
	t.r.live[pid] = s
	t.r.keepLocked(record{offset: 1, at: time.Now(), event: &Encoded{}})
	t.r.mu.Unlock()
	t.r.leave(s, TransportClose)
}

// Kept returns how many sockets and how many events are kept.
func (t RecoveryForTest) Kept() []int {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	return []int{max(len(t.r.saved), len(t.r.oldest)), len(t.r.log)}
}
