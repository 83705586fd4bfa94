package chat

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// The kinds of changes of a room's members.
const (
	presenceJoin  = "join" // or changed
	presenceLeave = "leave"
	presenceCount = "count" // only the number has changed
)

// maxShown is how many members of a room are shown to the others. presenceEvery is how often a room
// with more members, or one that is over its budget of announcements, announces changes. Without
// this limit, n clients that come back at the same time would cause n² events.
//
// Everyone in a room knows the same shown members: those in the answer to joinRoom, plus the
// changes from presence events since. In a room with at most maxShown members, everyone is shown
// unless the room is over its budget. Of the others, only the number is announced. When a shown
// member leaves, the one that has waited longest takes its place at the next round.
//
// While the room is over its budget, members that come are not shown until a round. Shown members
// that leave remain as parted ones until a round. If one comes back before, nothing is announced.
const (
	maxShown      = 100
	presenceEvery = time.Second
)

// presence knows who is currently in which room. It is safe for concurrent use.
type presence struct {
	service *Service

	mu    sync.Mutex
	rooms map[string]*room
}

// room is a room with members. Announcements are made under mu, so they are in order.
type room struct {
	of   *presence
	id   string
	refs int // guarded by of.mu

	line   line
	closed atomic.Bool // of a conversation: it was, when this service last looked
	// free says that the room is nobody's. It stays so, because only the ids that the service makes
	// become those of conversations. So many who come back to a room ask the store once.
	free atomic.Bool

	mu      sync.Mutex
	local   int       // members that are here, and not on another server
	shown   list.List // of *place, in order of joining
	hidden  list.List
	parted  map[string]*place // shown, but no longer there; by member id
	stale   map[*place]bool   // shown as they were before they changed
	told    int               // the last count that was announced
	budget  budget.Balance    // of announcements
	round   *time.Timer       // runs while something is waiting to be announced
	typers  typers
	readers readers

	elsewhere *elsewhere // nil: there are no other servers, or nobody has joined yet
}

// place is the place of one connection in a room.
type place struct {
	room *room
	peer Peer // nil: on another server

	// Owned by the client.
	messages budget.Balance
	bytes    budget.Balance
	address  *share // of room.line
	share    share  // of the same

	// Guarded by room.mu.
	of           *membership // the present one; nil: has not entered the room, or is on another server
	left         bool
	member       Member
	element      *list.Element // nil: has not entered the room
	shown        bool
	shared       bool // other servers know it
	conversation bool // of another server: see converses
	typing       typing
}

// place returns a place in the room, for enter. You must call leave, even without enter.
func (p *presence) place(id string, peer Peer) *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[id]
	if r == nil {
		r = &room{of: p, id: id}
		p.rooms[id] = r
	}
	r.refs++
	return &place{room: r, peer: peer, address: r.line.enroll(peer.Address())}
}

// known returns a room that somebody is in, or nil.
func (p *presence) known(id string) *room {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rooms[id]
}

// learn takes over what a row of the store says of the room.
func (r *room) learn(row *history.Room) {
	if row.Status == history.Closed {
		r.closed.Store(true)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readers.operators = max(r.readers.operators, row.OperatorsReadSeq)
}

// isFree reports whether a room that somebody is in is known to be nobody's.
func (p *presence) isFree(id string) bool {
	r := p.known(id)
	return r != nil && r.free.Load()
}

// setClosed notes whether a conversation is closed.
func (p *presence) setClosed(id string, closed bool) {
	if r := p.known(id); r != nil {
		r.closed.Store(closed)
	}
}

// memberships returns the memberships of a room.
func (p *presence) memberships(id string) (all []*membership) {
	r := p.known(id)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range []*list.List{&r.shown, &r.hidden} {
		for e := l.Front(); e != nil; e = e.Next() {
			if place := e.Value.(*place); !place.left && place.of != nil {
				all = append(all, place.of)
			}
		}
	}
	return all
}

// enter makes m a member, or changes what the others know of it. It calls answer with the members
// that it may see, before it announces anything to the room. If the place was left meanwhile, enter
// does nothing and reports false.
func (p *place) enter(of *membership, m Member, answer func(shown []Member, count int)) bool {
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.left {
		return false
	}
	p.of = of
	if p.element == nil {
		r.local++
	}
	news := r.appearLocked(p, m)
	r.shareLocked(p)
	shown, count := r.membersLocked()
	if !p.shown && len(shown) < maxShown {
		shown = append(shown, m)
	}
	answer(of.access.Load().view().seen(m, shown, count))
	r.newsLocked(p, news)
	return true
}

// appearLocked puts a member into its place, or changes it. It reports whether that is news.
func (r *room) appearLocked(p *place, m Member) (news bool) {
	news = p.element == nil || p.member != m
	p.member = m
	old := r.parted[m.ID]
	switch {
	case p.element != nil:
	case old != nil:
		news = old.member != m
		delete(r.parted, m.ID)
		p.shown, p.element = true, old.element
		p.element.Value = p
	case r.shown.Len() < maxShown && r.hidden.Len() == 0 && !r.overLocked():
		p.shown, p.element = true, r.shown.PushBack(p)
		if r.twinLocked(p) {
			news = false
			r.laterLocked()
		}
	default:
		p.element = r.hidden.PushBack(p)
		r.laterLocked()
	}
	return news
}

// newsLocked announces a member in its place if that is news.
func (r *room) newsLocked(p *place, news bool) {
	switch {
	case !news || !p.shown:
	case r.overLocked():
		r.stale = put(r.stale, p, true)
		r.laterLocked()
	default:
		r.tellLocked(presenceJoin, p)
	}
}

// seen returns what me sees of the members of a room.
func (v view) seen(me Member, shown []Member, count int) ([]Member, int) {
	if v == whole {
		return shown, count
	}
	shown = slices.DeleteFunc(shown, func(m Member) bool {
		return m.ID != me.ID && (v == quiet || m.OperatorID == "")
	})
	return shown, len(shown)
}

// leave gives up the place. It may be called more than once.
func (p *place) leave() {
	r := p.room
	r.mu.Lock()
	if p.left {
		r.mu.Unlock()
		return
	}
	p.left = true
	if p.element != nil {
		r.local--
		r.vanishLocked(p)
		r.unshareLocked(p)
	}
	r.mu.Unlock()
	r.line.leave(p.peer.Address())

	r.of.mu.Lock()
	r.refs--
	last := r.refs == 0
	if last {
		delete(r.of.rooms, r.id)
	}
	r.of.mu.Unlock()
	if last {
		r.shut()
	}
}

// vanishLocked takes a member that has left out of its place, and announces that.
func (r *room) vanishLocked(p *place) {
	r.endTypingLocked(p)
	delete(r.stale, p)
	switch {
	case !p.shown:
		r.hidden.Remove(p.element)
		r.laterLocked()
	case r.twinLocked(p):
		r.shown.Remove(p.element)
		r.laterLocked()
	case r.overLocked():
		r.parted = put(r.parted, p.member.ID, p)
		r.laterLocked()
	default:
		r.shown.Remove(p.element)
		r.tellLocked(presenceLeave, p)
		if r.hidden.Len() > 0 {
			r.laterLocked()
		}
	}
}

func (r *room) countLocked() int { return r.shown.Len() + r.hidden.Len() + r.moreLocked() }

func (r *room) membersLocked() (shown []Member, count int) {
	shown = make([]Member, 0, r.shown.Len())
	for e := r.shown.Front(); e != nil; e = e.Next() {
		m := e.Value.(*place).member
		if r.elsewhere == nil || !slices.ContainsFunc(shown, func(twin Member) bool { return twin.ID == m.ID }) {
			shown = append(shown, m)
		}
	}
	return shown, r.countLocked()
}

// tellLocked announces a change to everyone who sees the members, except the one that it is about.
// The user of a conversation learns of operators only, and not of how many there are.
func (r *room) tellLocked(change string, about *place) {
	r.told = r.countLocked()
	if r.local == 0 && r.elsewhere != nil {
		return // whoever is joining learns of all in the answer
	}
	r.budget.Charge(r.limit(budget.Presence), 1)
	p := conversation.PresenceNews{RoomID: r.id, Type: change, Count: r.told}
	if about == nil {
		r.announceLocked(whole, string(conversation.PresenceChanged), p, nil)
		return
	}
	member := about.member
	p.Member = &member
	r.announceLocked(whole, string(conversation.PresenceChanged), p, about.peer)
	if member.OperatorID != "" && about.converses() {
		p.Count = 0
		r.announceLocked(trimmed, string(conversation.PresenceChanged), p, about.peer)
	}
}

// announceLocked sends an event to those who see the room in a view.
func (r *room) announceLocked(to view, event string, payload any, except Peer) {
	r.of.service.opts.Announcer.Announce(to.channel(r.id), event, payload, except)
}

// overLocked reports whether the room is over its budget of announcements.
func (r *room) overLocked() bool {
	over := r.budget.Charge(r.limit(budget.Presence), 0) > 0
	if over {
		r.of.service.slowed[budget.Presence].Add(1)
	}
	return over
}

func (r *room) laterLocked() {
	if r.round == nil {
		r.round = time.AfterFunc(presenceEvery, r.catchUp)
	}
}

// catchUp announces the changes that were put off, as many as the room's budget allows.
func (r *room) catchUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round = nil
	r.shareRestLocked()
	if r.local == 0 { // nobody is there to be told
		for _, p := range r.parted {
			r.shown.Remove(p.element)
		}
		r.parted, r.stale, r.told = nil, nil, r.countLocked()
		return
	}
	within := func() bool { return r.budget.Charge(r.limit(budget.Presence), 0) == 0 }
	for id, p := range r.parted {
		if !within() {
			break
		}
		delete(r.parted, id)
		r.shown.Remove(p.element)
		r.tellLocked(presenceLeave, p)
	}
	for p := range r.stale {
		if !within() {
			break
		}
		delete(r.stale, p)
		r.tellLocked(presenceJoin, p)
	}
	for r.shown.Len() < maxShown && r.hidden.Len() > 0 && within() {
		p := r.hidden.Remove(r.hidden.Front()).(*place)
		p.shown, p.element = true, r.shown.PushBack(p)
		r.tellLocked(presenceJoin, p)
	}
	if r.countLocked() != r.told {
		r.tellLocked(presenceCount, nil)
	}
	if len(r.parted) > 0 || len(r.stale) > 0 || r.hidden.Len() > 0 && r.shown.Len() < maxShown {
		r.laterLocked()
	}
}

// put is m[k] = v for a map that may be nil.
func put[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	if m == nil {
		m = make(map[K]V)
	}
	m[k] = v
	return m
}

func (r *room) limit(k budget.Kind) budget.Limit { return r.of.service.opts.Budgets[k] }
