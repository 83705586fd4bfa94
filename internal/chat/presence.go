package chat

import (
	"container/list"
	"sync"
	"time"
)

// A Member is a connection in a room.
type Member struct {
	ID string `json:"id"` // the id by which others know the connection
	Principal
}

// Presence is a change of a room's members.
type Presence struct {
	RoomID string       `json:"roomId"`
	Type   PresenceType `json:"type"`
	Member *Member      `json:"member,omitempty"`
	Count  int          `json:"count"`
}

// PresenceType is the kind of change.
type PresenceType string

const (
	PresenceJoin  PresenceType = "join" // or changed
	PresenceLeave PresenceType = "leave"
	PresenceCount PresenceType = "count" // only the number has changed
)

// maxShown is how many members of a room are shown to the others. presenceEvery is how often a room
// with more members announces changes. Without this limit, n clients that come back at the same
// time would cause n² events.
//
// Everyone in a room knows the same shown members: those in the answer to joinRoom, plus the
// changes from presence events since. In a room with at most maxShown members, everyone is shown.
// Of the others, only the number is announced. When a shown member leaves, the one that has waited
// longest takes its place at the next round.
const (
	maxShown      = 100
	presenceEvery = time.Second
)

// presence knows who is currently in which room. It is safe for concurrent use.
type presence struct {
	announcer Announcer

	mu    sync.Mutex
	rooms map[string]*room
}

// room is a room with members. Announcements are made under mu, so they are in order.
type room struct {
	of   *presence
	id   string
	refs int // guarded by of.mu

	mu     sync.Mutex
	shown  list.List // of *place, in order of joining
	hidden list.List
	told   int         // the last count that was announced
	round  *time.Timer // runs while something is waiting to be announced
}

// place is the place of one connection in a room.
type place struct {
	room *room
	peer Peer

	// Guarded by room.mu.
	member  Member
	element *list.Element // nil: has not entered the room
	shown   bool
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
	return &place{room: r, peer: peer}
}

// enter makes m a member, or changes what the others know of it. It calls answer with the current
// members before it announces anything to the room.
func (p *place) enter(m Member, answer func(shown []Member, count int)) {
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	news := p.element == nil || p.member != m
	p.member = m
	if p.element == nil {
		p.shown = r.shown.Len() < maxShown && r.hidden.Len() == 0
		if p.shown {
			p.element = r.shown.PushBack(p)
		} else {
			p.element = r.hidden.PushBack(p)
			r.laterLocked()
		}
	}
	answer(r.membersLocked())
	if news && p.shown {
		r.tellLocked(PresenceJoin, p)
	}
}

// leave gives up the place.
func (p *place) leave() {
	r := p.room
	r.mu.Lock()
	if p.element != nil {
		if p.shown {
			r.shown.Remove(p.element)
			r.tellLocked(PresenceLeave, p)
		} else {
			r.hidden.Remove(p.element)
		}
		if !p.shown || r.hidden.Len() > 0 {
			r.laterLocked()
		}
		p.element = nil
	}
	r.mu.Unlock()

	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.refs--; r.refs == 0 {
		delete(r.of.rooms, r.id)
	}
}

func (r *room) countLocked() int { return r.shown.Len() + r.hidden.Len() }

func (r *room) membersLocked() (shown []Member, count int) {
	shown = make([]Member, 0, r.shown.Len())
	for e := r.shown.Front(); e != nil; e = e.Next() {
		shown = append(shown, e.Value.(*place).member)
	}
	return shown, r.countLocked()
}

// tellLocked announces a change to everyone in the room except the member that it is about.
func (r *room) tellLocked(t PresenceType, about *place) {
	r.told = r.countLocked()
	p := Presence{RoomID: r.id, Type: t, Count: r.told}
	if about == nil {
		r.of.announcer.Presence(p, nil)
		return
	}
	member := about.member
	p.Member = &member
	r.of.announcer.Presence(p, about.peer)
}

func (r *room) laterLocked() {
	if r.round == nil {
		r.round = time.AfterFunc(presenceEvery, r.catchUp)
	}
}

// catchUp announces the changes that were put off.
func (r *room) catchUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round = nil
	if r.countLocked() == 0 {
		return // another room with this name may exist by now
	}
	for r.shown.Len() < maxShown && r.hidden.Len() > 0 {
		p := r.hidden.Remove(r.hidden.Front()).(*place)
		p.shown, p.element = true, r.shown.PushBack(p)
		r.tellLocked(PresenceJoin, p)
	}
	if r.countLocked() != r.told {
		r.tellLocked(PresenceCount, nil)
	}
}
