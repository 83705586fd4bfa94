// Package pruning is how the databases prune: what a step deletes, and how far the steps have come.
package pruning

import (
	"sync"

	"github.com/parley-go/parley/history"
)

// Positions remembers how far each rule over all rooms has come. It is safe for concurrent use.
type Positions struct {
	mu    sync.Mutex
	after map[history.PruneRule]int64 // numbers of rooms
}

// position returns the number of the room after which a rule goes on.
func (p *Positions) position(rule history.PruneRule) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after[rule]
}

// advance notes how far a rule has come. A rule that is complete begins again.
func (p *Positions) advance(rule history.PruneRule, after int64, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.after == nil || len(p.after) > 100 { // many were abandoned
		p.after = make(map[history.PruneRule]int64)
	}
	if more {
		p.after[rule] = after
	} else {
		delete(p.after, rule)
	}
}
