package access

// HashFunc hashes a password.
type HashFunc = func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte

// SetHash replaces the function that hashes passwords.
func (a *Access) SetHash(f HashFunc) { a.hasher.key = f }

// SetCost changes what new hashes cost.
func (a *Access) SetCost(memory, passes uint32) {
	a.hasher.cost.memory, a.hasher.cost.passes = memory, passes
}

// PasswordHash returns the stored hash of an operator's password.
func (a *Access) PasswordHash(id string) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.operators.get(id).Password
}

// ParseHash reports whether a hash is one that can be verified.
func ParseHash(s string) bool {
	_, _, _, ok := parseHash(s)
	return ok
}

// Limits of lines and tickets.
const (
	MaxHashing   = maxHashing
	MaxInLine    = maxInLine
	MaxTickets   = maxTickets
	MaxTicketsOf = maxTicketsOf
	MaxSessions  = maxSessions
)

// Size returns the number of tickets, and of identities that have some.
func (t *Tickets) Size() (tickets, owners int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.tickets), len(t.of)
}
