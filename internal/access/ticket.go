package access

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
)

// Limits of tickets.
const (
	TicketLife = 60 * time.Second
	ticketSize = 20 // random bytes

	maxTickets   = 1 << 16
	maxTicketsOf = 256 // of one identity
)

// Tickets stand for identities where a client can send no header, such as in the address of an
// EventSource. A ticket is for one method and one path. It can be used once, within TicketLife. A
// feed's ticket may open the same feed again until TicketLife after that was last closed, from no
// earlier position than before.
//
// They are kept in memory only, by the server that issues them; see Join. The zero value is empty and ready. It is safe
// for concurrent use. Whoever gets an identity here asks Access.Check about it like about any other.
type Tickets struct {
	mu      sync.Mutex
	tickets map[string]*ticket // by the digest of the secret
	of      map[owner]int      // number of tickets
	idle    list.List          // of *ticket that no feed uses, those that end first in front
	office  *office            // nil: there are no other servers
}

// owner is whose tickets are counted together.
type owner struct {
	role    auth.Role
	subject string
}

type ticket struct {
	id           string
	who          *auth.Identity
	method, path string // of the path, the digest: a path may be long, and tickets are many
	ends         time.Time
	place        *list.Element // in idle; nil while a feed uses it
	feed         *Feed
	position     int64
}

// Issue returns a ticket for an identity, and when it ends. Too many at once are refused with the code
// rate_limited.
func (t *Tickets) Issue(who *auth.Identity, method, path string) (Secret, time.Time, error) {
	random := make([]byte, ticketSize)
	rand.Read(random)
	secret := Secret(base64.RawURLEncoding.EncodeToString(random) + t.office.mark())
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sweepLocked(now)
	of := owner{who.Role, who.Subject}
	if t.of[of] >= maxTicketsOf || len(t.tickets) >= maxTickets && t.idle.Len() == 0 {
		return "", time.Time{}, tooOften("too many tickets", TicketLife)
	}
	if len(t.tickets) >= maxTickets {
		t.removeLocked(t.idle.Front().Value.(*ticket))
	}
	if t.tickets == nil {
		t.tickets, t.of = make(map[string]*ticket), make(map[owner]int)
	}
	k := &ticket{id: secret.digest(), who: who, method: method, path: Secret(path).digest()}
	t.tickets[k.id] = k
	t.of[of]++
	t.restLocked(k, now)
	return secret, k.ends, nil
}

var errTicket = refuse(conversation.BadToken, "the ticket was used, has expired, or is for something else: ask for a new one")

// Use returns the identity for whom a ticket was issued, and ends the ticket. A wrong method or path
// ends it as well, because then somebody else has it.
func (t *Tickets) Use(ctx context.Context, secret Secret, method, path string) (*auth.Identity, error) {
	id, path := secret.digest(), Secret(path).digest()
	if home, away := t.office.home(secret); away {
		return t.office.ask(ctx, home, &ticketQuestion{Op: "use", ID: id, Method: method, Path: path})
	}
	return t.use(id, method, path)
}

func (t *Tickets) use(id, method, path string) (*auth.Identity, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepLocked(time.Now())
	k := t.tickets[id]
	if k == nil {
		return nil, errTicket
	}
	fits, used := k.method == method && k.path == path, k.feed != nil
	if k.place != nil {
		t.removeLocked(k)
	}
	if !fits || used {
		return nil, errTicket
	}
	return k.who, nil
}

// A Feed is one opening of a feed by a ticket. Close it when it has ended.
type Feed struct {
	Identity *auth.Identity

	tickets *Tickets
	ticket  *ticket
	over    func()
	close   func() // of a feed whose ticket is another server's
}

// Open opens a feed with a ticket that was issued for its path and the method GET. position is from
// where the client reads on; 0 at first. The feed may be open only once: if an earlier opening has not
// been closed, because nobody has noticed yet that its client is gone, its function over is called,
// which must not block.
func (t *Tickets) Open(ctx context.Context, secret Secret, path string, position int64, over func()) (*Feed, error) {
	id, path := secret.digest(), Secret(path).digest()
	if home, away := t.office.home(secret); away {
		return t.office.open(ctx, home, &ticketQuestion{Op: "open", ID: id, Path: path, Position: position}, over)
	}
	return t.open(id, path, position, over)
}

func (t *Tickets) open(id, path string, position int64, over func()) (*Feed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepLocked(time.Now())
	k := t.tickets[id]
	if k == nil || k.method != "GET" || k.path != path || position < k.position {
		return nil, errTicket
	}
	if k.place != nil {
		t.idle.Remove(k.place)
		k.place = nil
	} else {
		k.feed.over()
	}
	k.feed = &Feed{Identity: k.who, tickets: t, ticket: k, over: over}
	k.position = position
	return k.feed, nil
}

// Close says that the feed has ended. From now on the ticket has TicketLife to open it again.
func (f *Feed) Close() {
	if f.close != nil {
		f.close()
		return
	}
	t := f.tickets
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := f.ticket; k.feed == f && k.place == nil && t.tickets[k.id] == k {
		t.restLocked(k, time.Now())
	}
}

// restLocked begins the time in which a ticket must be used.
func (t *Tickets) restLocked(k *ticket, now time.Time) {
	k.ends = now.Add(TicketLife)
	k.place = t.idle.PushBack(k)
}

// sweepLocked removes the tickets that have ended.
func (t *Tickets) sweepLocked(now time.Time) {
	for e := t.idle.Front(); e != nil && !now.Before(e.Value.(*ticket).ends); e = t.idle.Front() {
		t.removeLocked(e.Value.(*ticket))
	}
}

// removeLocked removes a ticket that no feed uses.
func (t *Tickets) removeLocked(k *ticket) {
	t.idle.Remove(k.place)
	delete(t.tickets, k.id)
	of := owner{k.who.Role, k.who.Subject}
	if t.of[of]--; t.of[of] == 0 {
		delete(t.of, of)
	}
}
