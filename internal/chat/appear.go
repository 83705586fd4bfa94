package chat

import (
	"sync"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
)

// appear makes the client one that is seen as who, and no longer as old. Nil is nobody.
func (c *Client) appear(old, who *auth.Identity) {
	s := c.service
	var now *viewing
	switch {
	case who == nil || who.Role == auth.Service:
	case who.IsOperator():
		s.staff.arrive(who)
		now = &viewing{client: c, operator: who.Subject}
	default:
		s.visitors.arrive(who.Subject, c)
	}
	was := c.viewing.Swap(now)
	was.end()
	switch {
	case old == nil || old.Role == auth.Service:
	case old.IsOperator():
		s.staff.depart(old.Subject)
	default:
		s.visitors.depart(old.Subject, c)
	}
	if !operates(who) {
		c.Unwatch()
	}
	for room, m := range c.memberships {
		c.entered(room, m)
	}
}

// entered makes the client one that is seen in a room.
func (c *Client) entered(room string, m *membership) {
	a := m.access.Load()
	owner := a.owner
	if v := c.viewing.Load(); v != nil {
		v.enter(room, owner)
	} else if a.pending != nil {
		return // operators hear of users who have written
	} else if who := c.who.Load(); owner != "" && who != nil && who.Subject == owner {
		c.service.visitors.list(owner)
	}
}

// left undoes entered. It may be called more than once, and by any goroutine.
func (c *Client) left(room string) { c.viewing.Load().leave(room) }

// viewing is what colleagues and the lobby know of an operator's client: the rooms in which it is. A nil
// viewing is that of another client. It is safe for concurrent use.
type viewing struct {
	client   *Client
	operator string

	mu    sync.Mutex
	rooms map[string]string // with their owners
}

func (v *viewing) enter(room, owner string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, is := v.rooms[room]; !is {
		v.rooms = put(v.rooms, room, owner)
		v.tell(room, owner, +1)
	}
}

func (v *viewing) leave(room string) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if owner, is := v.rooms[room]; is {
		delete(v.rooms, room)
		v.tell(room, owner, -1)
	}
}

// end leaves all rooms.
func (v *viewing) end() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for room, owner := range v.rooms {
		v.tell(room, owner, -1)
	}
	v.rooms = nil
}

func (v *viewing) tell(room, owner string, n int) {
	s := v.client.service
	s.staff.view(v.operator, room, n)
	if owner != "" {
		s.visitors.read(owner, v.client, n)
	}
}

// SetStatus says whether the operator is there or away. It counts until the operator's last
// connection has been gone for a while.
func (c *Client) SetStatus(q conversation.StatusRequest) (conversation.StatusRequest, error) {
	who := c.Identity()
	switch {
	case who == nil || !who.IsOperator():
		return q, Refuse(Forbidden, "only operators have a status")
	case q.Status != "online" && q.Status != "away":
		return q, Refuse(BadPayload, "status must be online or away")
	}
	c.service.staff.setAway(who.Subject, q.Status == "away")
	return q, nil
}

// isAt says on which page the client is, if it is a user's. Operators learn of it soon.
func (c *Client) isAt(page *conversation.VisitedPage) {
	if who := c.Identity(); page != nil && who != nil && who.Role == auth.User {
		c.service.visitors.visit(who.Subject, c, &conversation.VisitedPage{URL: page.URL, Title: page.Title})
	}
}
