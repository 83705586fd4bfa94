package parley

// RecoveryForTest lets a test look into a recovery log.
type RecoveryForTest struct{ r *recovery }

// NewRecoveryForTest makes a log; released is called for each hold that it gives up.
func NewRecoveryForTest(o *Recovery, released func()) RecoveryForTest {
	return RecoveryForTest{newRecovery(o, released)}
}

// Leave has a socket leave, after one event.
func (t RecoveryForTest) Leave() {
	s := &Socket{}
	t.r.mu.Lock()
	defer t.r.unlock()
	t.r.enterLocked(s, &entrance{})
	t.r.keepLocked(record{all: true}, &Encoded{})
	t.r.leaveLocked(s, TransportClose)
}

// Kept returns how many sockets and how many events are kept.
func (t RecoveryForTest) Kept() []int {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	return []int{max(len(t.r.comebacks), len(t.r.waiting)), len(t.r.log)}
}

// HandlersForTest is where handlers are registered.
type HandlersForTest = handlers
