package chat

import (
	"sync"
	"time"

	"github.com/parley-go/parley/history"
)

// A conversation that begins without a message is no row in the store. Until its first message comes,
// what is known of it is only here: for pendingFor, and no longer than the server runs. After that, its
// id still says whose it is (conversationID), so its user can go on with it; what was said of it when it
// began is lost.
const (
	pendingFor = time.Hour
	maxPending = 1 << 12
)

// pendings are the conversations that have no message yet, one for each user.
type pendings struct {
	mu     sync.Mutex
	rooms  map[string]*pendingRoom
	byUser map[string]*pendingRoom
}

type pendingRoom struct {
	id    string
	until time.Time
	history.Conversation
}

// begin returns the pending conversation of a user. If there is none, it is c, with a new id.
func (p *pendings) begin(id string, c history.Conversation) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.byUser[c.UserID]; old != nil && time.Now().Before(old.until) {
		old.Conversation, old.until = c, time.Now().Add(pendingFor)
		return old.id
	}
	if len(p.rooms) >= maxPending {
		p.sweepLocked()
	}
	r := &pendingRoom{id, time.Now().Add(pendingFor), c}
	if old := p.byUser[c.UserID]; old != nil {
		delete(p.rooms, old.id)
	}
	p.rooms, p.byUser = put(p.rooms, id, r), put(p.byUser, c.UserID, r)
	return id
}

// sweepLocked forgets what is too old or, if nothing is, any.
func (p *pendings) sweepLocked() {
	now := time.Now()
	for _, r := range p.rooms {
		if now.After(r.until) {
			p.dropLocked(r)
		}
	}
	for _, r := range p.rooms {
		if len(p.rooms) < maxPending {
			break
		}
		p.dropLocked(r)
	}
}

func (p *pendings) dropLocked(r *pendingRoom) {
	delete(p.rooms, r.id)
	delete(p.byUser, r.UserID)
}

// of returns what a room will be with its first message; nil: it is not pending.
func (p *pendings) of(room string) *history.Conversation {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[room]
	if r == nil || time.Now().After(r.until) {
		return nil
	}
	c := r.Conversation
	return &c
}

// user returns the pending conversation of a user; empty: there is none.
func (p *pendings) user(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.byUser[id]; r != nil && time.Now().Before(r.until) {
		return r.id
	}
	return ""
}

// give makes the pending conversation of a visitor that of a user, who c names. It returns its id and what
// it will be; empty: there is none.
func (p *pendings) give(visitor string, c *history.Conversation) (id string, given *history.Conversation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.byUser[visitor]
	if r == nil || time.Now().After(r.until) {
		return "", nil
	}
	if other := p.byUser[c.UserID]; other != nil {
		p.dropLocked(other)
	}
	delete(p.byUser, visitor)
	r.UserID, r.Name, r.Email, r.Verified = c.UserID, c.Name, c.Email, c.Verified
	p.byUser[c.UserID] = r
	given = new(history.Conversation)
	*given = r.Conversation
	return r.id, given
}

// drop forgets the pending conversation of a user.
func (p *pendings) drop(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.byUser[user]; r != nil {
		p.dropLocked(r)
	}
}

// begun says that a room has its first message.
func (p *pendings) begun(room string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rooms[room]; r != nil {
		p.dropLocked(r)
	}
}
