package reactor

import (
	"syscall"
	"time"
)

// pacing makes a loop that is hardly ever idle wait a moment between rounds while it finds
// the messages of a burst one by one, since it looks more often than their sender writes:
// then one read and, for the replies, one write serve several messages. It is what network
// cards do with interrupts. A loop that is idle a third of the time never waits.
//
// In the rounds that follow a wait, bytes are taken out of the kernel only when the replies
// are on their way; see eventConn.consume.
type pacing struct {
	round  uint32 // number of the present round
	before int    // how many connections were ready in the round before
	ready  int    // and in this one
	busy   int    // up to twice pacingBusy; falls when nothing is ready
	slow   int    // rounds before which to wait
	waited bool   // before this round
}

const (
	pacingBusy = 100
	pacingFew  = 4  // a round of more has enough to do
	pacingSlow = 32 // rounds that one burst slows down
)

func pacingPause() {
	pause := syscall.NsecToTimespec(int64(50 * time.Microsecond))
	syscall.Nanosleep(&pause, nil) // if a signal cuts it short, so be it
}

// due reports whether to wait before the next round.
func (p *pacing) due() bool {
	p.waited = p.slow > 0 && p.busy >= pacingBusy
	if p.waited {
		p.slow--
	}
	return p.waited
}

// found begins a round with as many connections as are ready.
func (p *pacing) found(ready int) {
	if ready == 0 {
		p.busy = max(p.busy-2, 0)
		return
	}
	p.busy = min(p.busy+1, 2*pacingBusy)
	p.round++
	p.before, p.ready = p.ready, ready
}

// serve notes that c is read from in this round.
func (p *pacing) serve(c *eventConn) {
	if c.round == p.round-1 && p.before <= pacingFew {
		p.slow = pacingSlow
	}
	c.round = p.round
}
