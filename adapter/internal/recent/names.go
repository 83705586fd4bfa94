// Package recent remembers names for a while.
//
// A server that makes sockets of other servers join a room, and then sends to the room, must send to all
// servers for some time: those of the sockets may not listen to the room yet.
package recent

import (
	"sync"
	"time"
)

// Lifetime is how long a name is remembered.
const Lifetime = 3 * time.Second

// Names is a set of names that are forgotten after Lifetime. The zero value is empty. It is safe for
// concurrent use.
type Names struct {
	mu    sync.Mutex
	until map[string]time.Time
	sweep time.Time // when those that have ended are removed next
}

// Add adds names.
func (n *Names) Add(names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.until == nil {
		n.until = map[string]time.Time{}
	}
	if now.After(n.sweep) {
		n.sweep = now.Add(Lifetime)
		for name, until := range n.until {
			if now.After(until.Add(Lifetime)) {
				delete(n.until, name)
			}
		}
	}
	for _, name := range names {
		n.until[name] = now.Add(Lifetime)
	}
}

// HasOnly reports whether names is one name, which is remembered.
func (n *Names) HasOnly(names []string) bool {
	if len(names) != 1 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	until, known := n.until[names[0]]
	return known && time.Now().Before(until)
}

// Forgotten reports whether names is one name that was remembered, and is no longer. It says so once, unless
// nobody asks for Lifetime.
func (n *Names) Forgotten(names []string) bool {
	if len(names) != 1 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	until, known := n.until[names[0]]
	if !known || time.Now().Before(until) {
		return false
	}
	delete(n.until, names[0])
	return true
}
