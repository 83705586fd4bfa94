package budget

import (
	"sync"
	"time"
)

// maxAccounts limits the clients of a Ledger. They take about 100 bytes each.
const maxAccounts = 1 << 16

// A Ledger keeps balances of one kind by a client's name, such as its address. So a client gets no
// new balance with each connection. It is safe for concurrent use, and the zero Ledger is empty.
//
// It forgets clients that have their whole burst again. If it has maxAccounts clients all the same,
// it forgets one that has much left in favor of a newcomer. So whoever comes with very many names
// can take from nobody, and what a name has spent counts as long as that is much.
type Ledger struct {
	mu       sync.Mutex
	accounts map[string]*Balance
	swept    int64 // when the clients with their whole burst were forgotten
}

// Allow charges n to a client that is within its budget; see [Balance.Allow].
func (l *Ledger) Allow(client string, limit Limit, n int) (wait time.Duration) {
	if limit.PerSecond <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.accounts[client]
	if b == nil {
		b = l.openLocked(client)
	}
	return b.Allow(limit, n)
}

// Refund takes back a charge of n.
func (l *Ledger) Refund(client string, limit Limit, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.accounts[client]; b != nil {
		b.Charge(limit, -n)
	}
}

// sweepEvery is how often a Ledger looks for clients to forget.
const sweepEvery = int64(time.Minute)

func (l *Ledger) openLocked(client string) *Balance {
	now := now()
	if l.accounts == nil {
		l.accounts = make(map[string]*Balance)
		l.swept = now
	}
	if now-l.swept >= sweepEvery {
		for name, b := range l.accounts {
			if b.Full() {
				delete(l.accounts, name)
			}
		}
		l.swept = now
	}
	if len(l.accounts) >= maxAccounts {
		l.evictLocked()
	}
	b := new(Balance)
	l.accounts[client] = b
	return b
}

// evictLocked forgets the one of a few clients that has the most left. Go ranges over a map from a
// random place.
func (l *Ledger) evictLocked() {
	var name string
	var most *Balance
	seen := 0
	for n, b := range l.accounts {
		if most == nil || b.whole.Load() < most.whole.Load() {
			name, most = n, b
		}
		if seen++; seen == 16 {
			break
		}
	}
	delete(l.accounts, name)
}
