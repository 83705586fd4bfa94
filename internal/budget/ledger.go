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
// It forgets clients that have their whole burst again. If it still has maxAccounts clients, a
// newcomer takes the place of one that has much left. So an attacker with very many names takes
// nothing from others, and the Ledger remembers those that have spent much.
type Ledger struct {
	mu       sync.Mutex
	accounts map[string]*Balance
	swept    int64 // when the clients with their whole burst were forgotten
}

// Allow charges n to a client that is within its budget; see [Balance.Allow].
func (l *Ledger) Allow(client string, limit Limit, n int) (wait time.Duration) {
	return l.Reserve(client, limit, n, 0)
}

// Reserve returns how long a client has to wait until it is within its budget. It charges n unless
// that is longer than most. So those who wait come in the order of their calls, and need not ask
// again.
func (l *Ledger) Reserve(client string, limit Limit, n int, most time.Duration) (wait time.Duration) {
	if limit.PerSecond <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.accountLocked(client)
	if wait = b.Charge(limit, 0); wait <= most {
		b.Charge(limit, n)
	}
	return wait
}

// Charge charges n, whatever the client has left.
func (l *Ledger) Charge(client string, limit Limit, n int) {
	if limit.PerSecond <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accountLocked(client).Charge(limit, n)
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

// accountLocked returns a client's balance, which it makes if there is none.
func (l *Ledger) accountLocked(client string) *Balance {
	if b := l.accounts[client]; b != nil {
		return b
	}
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
