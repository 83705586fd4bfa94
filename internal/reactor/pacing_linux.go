package reactor

import (
	"syscall"
	"time"
)

// pacing makes a busy loop wait a moment between rounds while it reads a burst of messages one by
// one, because it looks more often than the sender writes. After the wait, one read gets several
// messages, and one write sends their replies. Network cards do the same with interrupts. A loop that
// is idle a third of the time never waits.
//
// In a round after a wait, the loop leaves the received bytes in the kernel until the replies are on
// their way; see eventConn.consume.
type pacing struct {
	round  uint32 // number of the current round
	before int    // how many connections were ready in the previous round
	ready  int    // how many are ready in this one
	busy   int    // rises in rounds with work, up to twice pacingBusy; falls when nothing is ready
	slow   int    // how many more rounds to wait before
	waited bool   // the loop waited before this round
}

const (
	pacingBusy = 100
	pacingFew  = 4  // with more ready connections, a round has enough to do
	pacingSlow = 32 // rounds that one burst slows down
)

func pacingPause() {
	pause := syscall.NsecToTimespec(int64(50 * time.Microsecond))
	syscall.Nanosleep(&pause, nil) // a signal may cut it short, which does no harm
}

// due reports whether to wait before the next round.
func (p *pacing) due() bool {
	p.waited = p.slow > 0 && p.busy >= pacingBusy
	if p.waited {
		p.slow--
	}
	return p.waited
}

// found begins a round in which ready connections are ready. If there are none, it is no round.
func (p *pacing) found(ready int) {
	if ready == 0 {
		p.busy = max(p.busy-2, 0)
		return
	}
	p.busy = min(p.busy+1, 2*pacingBusy)
	p.round++
	p.before, p.ready = p.ready, ready
}

// serve notes that the loop reads from c in this round.
func (p *pacing) serve(c *eventConn) {
	if c.round == p.round-1 && p.before <= pacingFew {
		p.slow = pacingSlow
	}
	c.round = p.round
}
