package chat

import (
	"context"
	"sync"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// A connection is a client or a feed that has an identity.
type connection interface {
	Identity() *auth.Identity
	// RemoteAddress is the client's network address, with or without a port.
	RemoteAddress() string
	// cut ends it, and says why if there is a way to say it.
	cut(why *Error)
}

// connected knows the connections that have an identity, by who they are. It is safe for concurrent
// use.
type connected struct {
	mu sync.Mutex
	of map[history.Member]map[connection]bool
}

func (o *connected) enter(who history.Member, c connection) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of = put(o.of, who, put(o.of[who], c, true))
}

func (o *connected) leave(who history.Member, c connection) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.of[who], c)
	if len(o.of[who]) == 0 {
		delete(o.of, who)
	}
}

// clients returns the clients of somebody.
func (o *connected) clients(who history.Member) (clients []*Client) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.of[who] {
		if client, ok := c.(*Client); ok {
			clients = append(clients, client)
		}
	}
	return clients
}

// all returns the connections for which a function is true.
func (o *connected) all(match func(connection) bool) (matching []connection) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, of := range o.of {
		for c := range of {
			if match(c) {
				matching = append(matching, c)
			}
		}
	}
	return matching
}

// Cut ends the clients and feeds that lost selects, because they are no longer welcome. It returns
// their number.
func (s *Service) Cut(lost auth.Match, code Code, message string) int {
	cut := s.connected.all(func(c connection) bool { return lost.Matches(c.Identity(), c.RemoteAddress()) })
	for _, c := range cut {
		c.cut(&Error{Code: code, Message: message})
	}
	return len(cut)
}

// reconsider decides again who may stay in a room, after its owner has changed. Pending is what it will
// be with its first message; nil: it exists.
func (s *Service) reconsider(room, owner string, pending *history.Conversation) {
	s.changes.Add(1)
	for _, m := range s.presence.memberships(room) {
		now := *m.access.Load()
		now.owner, now.pending = owner, pending
		s.decideNow(m.client.actor(now.who), room, &now)
		m.settle(&now)
	}
	for _, c := range s.feeds(room) {
		now := access{owner: owner}
		if s.decideNow(c.Identity(), room, &now); now.need(auth.Read) != nil {
			c.cut(&Error{Code: Forbidden, Message: "your rights in this room have changed"})
		}
	}
}

// founded decides again who may stay in a room, after it has become a conversation of owner. Somebody may have
// joined it as a room of nobody.
func (s *Service) founded(room, owner string) {
	for _, m := range s.presence.memberships(room) {
		now := *m.access.Load()
		if now.owner != "" && now.pending == nil {
			continue
		}
		now.owner, now.pending = owner, nil
		s.decideNow(m.client.actor(now.who), room, &now)
		m.settle(&now)
	}
}

// Erased says that rooms were erased from the store. Whoever is in one is told, and leaves it; their
// feeds end.
func (s *Service) Erased(rooms ...string) {
	if len(rooms) > 0 {
		s.erasedHere(rooms)
		s.cluster.say(word{Erased: rooms})
	}
}

// erasedHere is Erased for the clients of this server.
func (s *Service) erasedHere(rooms []string) {
	for _, room := range rooms {
		s.changes.Add(1)
		for _, m := range s.presence.memberships(room) {
			m.evict(m.access.Load().view(), string(conversation.RoomGone), conversation.RoomLoss{RoomID: room})
		}
		for _, f := range s.feeds(room) {
			f.cut(erased)
		}
	}
	s.lobby.erased(rooms)
}

// erased is why feeds of an erased room end.
var erased = &Error{Code: Gone, Message: "the room was erased"}

// Forget says that users were erased from the store: what is in memory of them, while they are connected
// or because they have begun a conversation without a message, is forgotten as well.
func (s *Service) Forget(userIDs ...string) {
	if len(userIDs) > 0 {
		s.forgetHere(userIDs)
		s.cluster.say(word{Forgotten: userIDs})
	}
}

func (s *Service) forgetHere(userIDs []string) {
	for _, id := range userIDs {
		s.pending.drop(id)
		s.visitors.forget(id)
	}
}

// feeds returns the feeds of a room whose clients have an identity.
func (s *Service) feeds(room string) []connection {
	return s.connected.all(func(c connection) bool {
		f, ok := c.(*follower)
		return ok && f.room == room
	})
}

// decideNow is decide, without rights if it cannot be known who a user was.
func (s *Service) decideNow(who *auth.Identity, room string, a *access) {
	ctx, cancel := s.bounded(context.Background())
	defer cancel()
	if s.decide(ctx, who, room, a) != nil {
		a.rights = 0
	}
}
