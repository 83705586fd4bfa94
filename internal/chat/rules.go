package chat

import (
	"context"
	"slices"
	"strings"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// reserved begins the ids of rooms that only the service uses, such as those of notes, which the user
// of a conversation never sees.
const reserved = "~"

// everything are all rights. In a conversation, they are those of operators. Users of a conversation
// have rights of their own.
const (
	everything = auth.Read | auth.Write | auth.See | auth.Manage
	ofUsers    = auth.Read | auth.Write | auth.See
)

// An access is as whom a client acts in a room, and what it may do there. It is immutable once others
// know it.
type access struct {
	who    Principal
	rights auth.Rights
	// owner is the user whose conversation the room is; empty: nobody's.
	owner string
	// operates says that the client is on the operators' side of a conversation: it sees the notes,
	// and what else only colleagues see.
	operates bool
	role     auth.Role
	own      bool // owner is the client itself
	// pending is what the conversation will be with its first message. Nil: it exists.
	pending *history.Conversation
}

// rights decides what an identity may do in a room. It is the only place that does. Owner is the user
// whose conversation the room is, and own says that this is the identity itself.
//
// In an open server, everything that existed before conversations did is open to everybody, and those
// who say that they are operators are.
//
// In a closed one, these decide, the first one that applies:
//
//	no identity                  nothing
//	grants of the identity       they are all that it may use; the longest that matches
//	a service                    everything
//	the user's own conversation  read, write, see
//	a conversation, an operator  everything
//	OpenRooms                    the longest that matches
func (s *Service) rights(who *auth.Identity, room, owner string, own bool) auth.Rights {
	if !s.isClosed() {
		if owner != "" && operates(who) {
			return everything
		}
		return ofUsers
	}
	if who == nil {
		return 0
	}
	grants := s.opts.OpenRooms
	switch {
	case who.Grants != nil:
		grants = who.Grants
	case who.Role == auth.Service, owner != "" && who.IsOperator():
		return everything
	case own:
		return ofUsers
	}
	rights, _ := grants.In(room, who.Subject)
	return rights
}

// operates reports whether an identity is on the operators' side of conversations.
func operates(who *auth.Identity) bool {
	return who != nil && (who.IsOperator() || who.Role == auth.Service)
}

// limited reports whether an operator may not read all conversations. What is about all of them is not
// for it: counts, where visitors are, and where colleagues are.
func (s *Service) limited(who *auth.Identity) bool {
	return s.isClosed() && who != nil && who.Grants != nil
}

// access returns what an identity may do in a room, where it acts as a principal, and the room if it is
// a conversation that exists.
func (s *Service) access(ctx context.Context, as Principal, who *auth.Identity, room string) (access, *history.Room, error) {
	a := access{who: as, pending: s.pending.of(room)}
	var row *history.Room
	if a.pending != nil {
		a.owner = a.pending.UserID
	} else if s.can.rooms != nil && !s.presence.isFree(room) {
		found, err := s.can.rooms.Room(ctx, room, as.reader())
		switch {
		case history.Code(err) == history.ErrNotFound.Code:
			if a.pending, err = s.unstored(ctx, who, room); err != nil {
				return a, nil, err
			}
			if a.pending != nil {
				a.owner = a.pending.UserID
			}
		case err != nil:
			return a, nil, s.storeError(ctx, "read room", err)
		case found.UserID != "":
			row, a.owner = &found, found.UserID
		}
	}
	err := s.decide(ctx, who, room, &a)
	return a, row, err
}

// decide sets the rights of an identity in a room whose owner is known.
func (s *Service) decide(ctx context.Context, who *auth.Identity, room string, a *access) error {
	own, err := s.owns(ctx, who, a.owner)
	if err != nil {
		return err
	}
	a.rights, a.own = s.rights(who, room, a.owner, own), own
	a.operates = a.owner != "" && operates(who)
	if who != nil {
		a.role = who.Role
	}
	if a.pending != nil && !own { // it is the user's alone until there is a message
		a.rights = 0
	}
	return nil
}

// unstored returns the conversation of a user that a room is, although neither the store nor the memory
// knows it: it was begun without a message, before the server was restarted or long ago. Nil: it is none.
func (s *Service) unstored(ctx context.Context, who *auth.Identity, room string) (*history.Conversation, error) {
	if !strings.HasPrefix(room, conversationPrefix) {
		return nil, nil
	}
	own, err := s.is(ctx, who, func(user string) bool { return isConversationOf(user, room) })
	if err != nil || !own {
		return nil, err
	}
	return s.conversationOf(who), nil
}

// owns reports whether a user is an identity.
func (s *Service) owns(ctx context.Context, who *auth.Identity, owner string) (bool, error) {
	if owner == "" {
		return false, nil
	}
	return s.is(ctx, who, func(user string) bool { return user == owner })
}

// is reports whether an identity is a user for whom match is true: by its own id, or by that of a visitor
// that it was.
func (s *Service) is(ctx context.Context, who *auth.Identity, match func(user string) bool) (bool, error) {
	switch {
	case who == nil || who.Role != auth.User:
		return false, nil
	case match(who.Subject):
		return true, nil
	case who.Visitor || s.can.people == nil:
		return false, nil
	}
	ids, err := s.can.people.Identities(ctx, who.Subject)
	if err != nil {
		return false, s.storeError(ctx, "read user", err)
	}
	return slices.ContainsFunc(ids, match), nil
}

// need refuses what a client has no right to.
func (a *access) need(r auth.Rights) error {
	if !a.rights.Has(r) {
		return Refuse(Forbidden, "you have no right to this in this room: parley.rooms of your token gives it, or the setting open-rooms")
	}
	return nil
}

// may refuses an event that the client may not use in the room.
func (a *access) may(event string) error {
	rule, _ := conversation.AccessTo(event)
	if !rule.Allows(a.role, a.rights, a.own) {
		return Refuse(Forbidden, "neither your role nor your rights in this room allow this")
	}
	return nil
}

var errNoConversation = Refuse(NotFound, "there is no such conversation")

// mayIn is may for an event that only a conversation has. Operators who may do everything in all of them
// learn that there is none.
func (c *Client) mayIn(a *access, event string) error {
	if who := c.Identity(); a.owner == "" && operates(who) && !c.service.limited(who) {
		return errNoConversation
	}
	return a.may(event)
}

// operator refuses what only operators see.
func (a *access) operator() error {
	if !a.operates || !a.rights.Has(auth.Read) {
		return Refuse(Forbidden, "only operators see notes, and only in a conversation")
	}
	return nil
}

// in returns the client's access to a room. Only somebody who has an identity need not have joined
// the room.
func (c *Client) in(ctx context.Context, room string) (*access, error) {
	who := c.who.Load()
	if who == nil || c.memberships[room] != nil {
		m, err := c.member(room)
		if err != nil {
			return nil, err
		}
		return m.access.Load(), nil
	}
	if err := CheckRoom(room); err != nil {
		return nil, err
	}
	reading, cancel, err := c.service.reading(ctx, &c.reader)
	if err != nil {
		return nil, err
	}
	defer cancel()
	a, _, err := c.service.access(reading, principalOf(who), who, room)
	return &a, err
}

// view is how much of a room a member sees of what is not stored. Each view is a channel.
type view byte

const (
	whole   view = iota // everything: colleagues, and everyone in a room that is nobody's
	trimmed             // the user of a conversation: operators, as one where that is enough
	quiet               // who may not see who is there
)

var channels = [...]string{whole: "room:", trimmed: "user:", quiet: "read:"}

func (v view) channel(room string) string { return channels[v] + room }

// view returns how a member with these rights sees the room.
func (a *access) view() view {
	switch {
	case !a.rights.Has(auth.See):
		return quiet
	case a.owner != "" && !a.operates:
		return trimmed
	}
	return whole
}
