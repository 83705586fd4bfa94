package parley

import (
	"time"
	"unsafe"
)

// RecoveryForTest lets a test inspect a recovery log.
type RecoveryForTest struct{ r *recovery }

// NewRecoveryForTest makes a log. It calls released for each hold that it gives up.
func NewRecoveryForTest(o *Recovery, released func()) RecoveryForTest {
	return RecoveryForTest{newRecovery(o, released)}
}

// Leave simulates a socket that receives one event and loses its connection.
func (t RecoveryForTest) Leave() {
	s := &Socket{}
	t.r.mu.Lock()
	defer t.r.unlock()
	t.r.enterLocked(s, &entrance{})
	t.r.keepLocked(record{all: true}, &Encoded{})
	t.r.leaveLocked(s, TransportClose)
}

// Kept returns the number of comebacks and of events that are kept.
func (t RecoveryForTest) Kept() []int {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	return []int{max(len(t.r.comebacks), len(t.r.waiting)), len(t.r.log)}
}

// HandlersForTest is the type that registers handlers.
type HandlersForTest = handlers

// ProofsForTest returns how many identities the server watches.
func (s *Server) ProofsForTest() int {
	s.proofs.mu.Lock()
	defer s.proofs.mu.Unlock()
	return len(s.proofs.line) + len(s.proofs.asking)
}

// SocketSize is the size of a Socket in bytes.
const SocketSize = unsafe.Sizeof(Socket{})

// SetMoveTimeForTest sets how long it may take until a session has moved to the server.
func (s *Server) SetMoveTimeForTest(d time.Duration) { s.moves.patience = d }

// SetArrivalsForTest sets how many sessions may move to the server at the same time. None moves now.
func (s *Server) SetArrivalsForTest(n int) { s.moves.turns = make(chan struct{}, n) }
