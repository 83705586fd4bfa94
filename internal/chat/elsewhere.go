package chat

import (
	"container/list"
	"encoding/json"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/history"
)

// elsewhere is what a room needs of a cluster. room.mu guards it.
//
// A member on another server is a place without a peer: it is among the shown or hidden ones like any
// other, and each server tells its own clients. A server tells the others of at most maxShown of its
// members, and of how many more there are.
type elsewhere struct {
	mirror *mirror // of members by their ids; "" has the number of the others
	places map[adapter.NodeID]map[string]*place
	more   map[adapter.NodeID]int
	shared int // members here that the others know
}

// A sharedMember is a member as other servers know it.
type sharedMember struct {
	Member
	Conversation bool `json:"conversation,omitempty"` // it sees the room as a conversation
}

// open makes the room one that other servers hear of. The result is closed when they have said who is in
// it there; nil: there are none.
func (r *room) open() <-chan struct{} {
	c := r.of.service.cluster
	if c == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.elsewhere == nil {
		e := &elsewhere{places: make(map[adapter.NodeID]map[string]*place), more: make(map[adapter.NodeID]int)}
		r.elsewhere = e
		e.mirror = c.mirror(roomSubject+r.id, &r.mu, r.changedElsewhereLocked, r.hear)
	}
	return r.elsewhere.mirror.ready
}

// shut is called when nobody here is in the room any more.
func (r *room) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.elsewhere != nil {
		r.elsewhere.mirror.closeLocked()
	}
}

// shareLocked tells other servers of a member here.
func (r *room) shareLocked(p *place) {
	e := r.elsewhere
	switch {
	case e == nil:
	case p.shared || e.shared < maxShown:
		if !p.shared {
			p.shared = true
			e.shared++
		}
		e.mirror.setLocked(p.member.ID, sharedMember{p.member, p.converses()})
	default:
		r.laterLocked()
	}
}

// unshareLocked undoes shareLocked.
func (r *room) unshareLocked(p *place) {
	e := r.elsewhere
	if e == nil {
		return
	}
	if p.shared {
		p.shared = false
		e.shared--
		e.mirror.setLocked(p.member.ID, nil)
	}
	switch {
	case r.local == 0:
		e.mirror.setLocked("", nil)
	case r.local != e.shared:
		r.laterLocked()
	}
}

// shareRestLocked tells other servers of members that have taken the place of others, and of how many
// more there are.
func (r *room) shareRestLocked() {
	e := r.elsewhere
	if e == nil {
		return
	}
	for _, l := range []*list.List{&r.shown, &r.hidden} {
		for i := l.Front(); i != nil && e.shared < min(maxShown, r.local); i = i.Next() {
			if p := i.Value.(*place); p.peer != nil && !p.left && !p.shared {
				r.shareLocked(p)
			}
		}
	}
	if n := r.local - e.shared; n > 0 {
		e.mirror.setLocked("", n)
	} else {
		e.mirror.setLocked("", nil)
	}
}

// changedElsewhereLocked is told of a change on another server.
func (r *room) changedElsewhereLocked(on adapter.NodeID, key string, value json.RawMessage) {
	e := r.elsewhere
	if key == "" {
		var n int
		json.Unmarshal(value, &n) // what is no number is none
		if e.more[on] = max(n, 0); n <= 0 {
			delete(e.more, on)
		}
		r.laterLocked()
		return
	}
	p := e.places[on][key]
	if value == nil {
		if p != nil {
			delete(e.places[on], key)
			p.left = true
			r.vanishLocked(p)
		}
		return
	}
	var m sharedMember
	if json.Unmarshal(value, &m) != nil || m.ID != key {
		return
	}
	if p == nil {
		p = &place{room: r}
		e.places[on] = put(e.places[on], key, p)
	}
	p.conversation = m.Conversation
	r.newsLocked(p, r.appearLocked(p, m.Member))
}

// moreLocked returns how many members of other servers are not known here.
func (r *room) moreLocked() (n int) {
	if r.elsewhere != nil {
		for _, more := range r.elsewhere.more {
			n += more
		}
	}
	return n
}

// twinLocked reports whether a member is shown in another place: its connection was recovered by another server,
// and the news of the one comes before the news of the other.
func (r *room) twinLocked(p *place) bool {
	if r.elsewhere == nil {
		return false
	}
	for e := r.shown.Front(); e != nil; e = e.Next() {
		if other := e.Value.(*place); other != p && !other.left && other.member.ID == p.member.ID {
			return true
		}
	}
	return false
}

// converses reports whether the member sees the room as a conversation.
func (p *place) converses() bool {
	if p.peer == nil {
		return p.conversation
	}
	return p.of.access.Load().owner != ""
}

// A typingWord says that a member types, or no longer.
type typingWord struct {
	sharedMember
	Is   bool   `json:"is"`
	Text string `json:"text,omitempty"`
}

// A readWord says how far somebody has read.
type readWord struct {
	UserID     string `json:"userId,omitempty"`
	OperatorID string `json:"operatorId,omitempty"`
	Seq        int64  `json:"seq"`
}

// sayLocked tells other servers what a member does.
func (r *room) sayLocked(s saying) {
	if r.elsewhere != nil {
		r.elsewhere.mirror.cluster.send(roomSubject+r.id, s)
	}
}

// hear takes in what another server says of what its members do.
func (r *room) hear(on adapter.NodeID, s *saying) {
	switch {
	case s.Typing != nil:
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.elsewhere.mirror.closed {
			return
		}
		p := r.elsewhere.places[on][s.Typing.ID]
		if p == nil { // it is one of many
			p = &place{room: r, member: s.Typing.Member, conversation: s.Typing.Conversation}
		}
		p.typing.is, p.typing.text = s.Typing.Is, s.Typing.Text
		r.sayTypingLocked(p)
	case s.Read != nil:
		r.of.read(r.id, history.Member{UserID: s.Read.UserID, OperatorID: s.Read.OperatorID}, s.Read.Seq)
	}
}
