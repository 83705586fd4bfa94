package app

import (
	"container/list"
	"sync"
	"time"

	"github.com/parley-go/parley"
)

// maxShown is how many members of a room are shown to the others, and presenceEvery how
// often a room with more of them tells of changes. Without the bound n clients that come
// back at the same time would cause n² events.
//
// Everybody in a room knows the same shown members: those in the answer to joinRoom, and
// what presence events have changed since. While a room has no more than maxShown,
// that is all of them. Of the others only the number is told. When a shown member
// leaves, the one who has waited for longest takes the place, at the next round.
const (
	maxShown      = 100
	presenceEvery = time.Second
)

type presenceType string

const (
	presenceJoin  presenceType = "join" // or changed
	presenceLeave presenceType = "leave"
	presenceCount presenceType = "count" // only the number has changed
)

// presence knows who is in which room at the moment. It is safe for concurrent use.
type presence struct {
	nsp *parley.Namespace

	mu    sync.Mutex
	rooms map[string]*room
}

// room is one with members. Its events are sent under mu, so that they are in order; that
// queues them and does not wait for anybody.
type room struct {
	of   *presence
	id   string
	refs int // guarded by of.mu

	mu     sync.Mutex
	shown  list.List // of *place, in order of joining
	hidden list.List
	told   int         // the last count that was sent
	round  *time.Timer // set while something is to be told
}

// place is one socket's place in a room.
type place struct {
	room *room

	// Guarded by room.mu.
	member  member
	element *list.Element // nil: not in the room yet
	shown   bool
}

// channel is the name of the Socket.IO room behind a room. It has a prefix, since each
// socket is in a room that has its id for a name.
func channel(room string) string { return "room:" + room }

// place returns a place in the room, to be entered. It must be left, entered or not.
func (p *presence) place(id string) *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[id]
	if r == nil {
		r = &room{of: p, id: id}
		p.rooms[id] = r
	}
	r.refs++
	return &place{room: r}
}

// enter makes m a member, or changes what the others know of it. answer is called with
// the members as they are at that moment, before anything else is told about the room.
func (p *place) enter(m member, answer func(shown []member, count int)) {
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
		r.tellLocked(presenceJoin, &m)
	}
}

// leave gives the place back.
func (p *place) leave() {
	r := p.room
	r.mu.Lock()
	if p.element != nil {
		if p.shown {
			r.shown.Remove(p.element)
			r.tellLocked(presenceLeave, &p.member)
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

func (r *room) membersLocked() (shown []member, count int) {
	shown = make([]member, 0, r.shown.Len())
	for e := r.shown.Front(); e != nil; e = e.Next() {
		shown = append(shown, e.Value.(*place).member)
	}
	return shown, r.countLocked()
}

// tellLocked sends an event to all in the room but the member that it is about.
func (r *room) tellLocked(t presenceType, m *member) {
	r.told = r.countLocked()
	to := r.of.nsp.To(channel(r.id))
	if m != nil {
		to = to.Except(m.socket)
	}
	to.Emit("presence", presenceNotice{RoomID: r.id, Type: t, Member: m, Count: r.told}) // can be encoded
}

func (r *room) laterLocked() {
	if r.round == nil {
		r.round = time.AfterFunc(presenceEvery, r.catchUp)
	}
}

// catchUp tells what was put off.
func (r *room) catchUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round = nil
	if r.countLocked() == 0 {
		return // there may be another room of this name by now
	}
	for r.shown.Len() < maxShown && r.hidden.Len() > 0 {
		p := r.hidden.Remove(r.hidden.Front()).(*place)
		p.shown, p.element = true, r.shown.PushBack(p)
		r.tellLocked(presenceJoin, &p.member)
	}
	if r.countLocked() != r.told {
		r.tellLocked(presenceCount, nil)
	}
}
