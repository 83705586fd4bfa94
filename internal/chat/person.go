package chat

import (
	"cmp"
	"context"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// maxOpen is how many conversations an answer about a client or a person has.
const maxOpen = 50

// Hello tells the service where the client is, and the client who it is.
func (c *Client) Hello(ctx context.Context, q conversation.HelloRequest) (conversation.HelloAnswer, error) {
	s, who := c.service, c.who.Load()
	if err := checkVisit(&q); err != nil {
		return conversation.HelloAnswer{}, err
	}
	if c.may(visitsOf) {
		c.visits(&q)
	}
	answer := conversation.HelloAnswer{
		Open: []conversation.Room{},
		Settings: conversation.Settings{
			Open: !s.isClosed(), Preview: s.opts.Preview, MaxMessage: s.opts.MaxMessage,
			EditWindow: s.opts.EditWindow.Milliseconds(), Search: s.can.search != nil && s.opts.Search,
		},
	}
	if who == nil {
		return answer, nil
	}
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return answer, err
	}
	defer cancel()
	if answer.Me, err = s.me(reading, who); err != nil {
		return answer, err
	}
	answer.ExpiresAt = expiry(who)
	query := history.RoomQuery{Status: history.Open, Limit: maxOpen, By: member(who)}
	if operates(who) {
		query.Assignee = history.Assignee{Kind: history.AssignedTo, OperatorID: who.Subject}
	} else {
		query.UserID = who.Subject
	}
	answer.Open, _, err = c.list(reading, who, query)
	if err == nil && len(answer.Open) > 0 && !operates(who) {
		known := answer.Open[0].User
		if cmp.Or(who.Name, known.Name) != known.Name || cmp.Or(who.Email, known.Email) != known.Email {
			err = s.describe(reading, who) // it has a newer token
		}
	}
	if len(answer.Open) > 0 {
		s.visitors.list(query.UserID)
	}
	return answer, err
}

// visits notes where the client is. What it says first stays with the conversation that it begins.
func (c *Client) visits(q *conversation.HelloRequest) {
	if c.visit == nil {
		v := visit{q.Page, q.Locale, q.Timezone, q.Client}
		if v != (visit{}) {
			c.visit = &v
		}
	}
	c.isAt(q.Page)
}

// list returns conversations that an identity may read, as it sees them, and all rights that it has in
// one of them.
func (c *Client) list(ctx context.Context, who *auth.Identity, q history.RoomQuery) (rooms []conversation.Room, rights auth.Rights, err error) {
	s := c.service
	rooms = []conversation.Room{}
	if s.can.rooms == nil {
		return rooms, 0, nil
	}
	list, err := s.can.rooms.ListRooms(ctx, q)
	if err != nil {
		return rooms, 0, s.storeError(ctx, "list conversations", err)
	}
	for i := range list.Rooms {
		a := access{owner: list.Rooms[i].UserID}
		if err := s.decide(ctx, who, list.Rooms[i].RoomID, &a); err != nil {
			return rooms, 0, err
		}
		if a.rights.Has(auth.Read) {
			rooms, rights = append(rooms, s.show(&list.Rooms[i], &a)), rights|a.rights
		}
	}
	return rooms, rights, nil
}

// me returns an identity as its client sees it.
func (s *Service) me(ctx context.Context, who *auth.Identity) (conversation.Me, error) {
	p := principalOf(who)
	me := conversation.Me{UserID: p.UserID, OperatorID: p.OperatorID, Name: p.Name, Role: who.Role, Visitor: who.Visitor}
	if p.UserID == "" || who.Visitor || s.can.people == nil {
		return me, nil
	}
	ids, err := s.can.people.Identities(ctx, p.UserID)
	if err != nil {
		return me, s.storeError(ctx, "read user", err)
	}
	for _, id := range ids {
		if id != p.UserID {
			me.Was = append(me.Was, id)
		}
	}
	return me, nil
}

func expiry(who *auth.Identity) *history.Time {
	if who.Expires.IsZero() {
		return nil
	}
	t := history.TimeMilli(who.Expires.UnixMilli())
	return &t
}

// Refresh gives the client a new identity of the same subject. The rights that it brings are those
// that the client has from now on.
func (c *Client) Refresh(ctx context.Context, who *auth.Identity) (conversation.Expiry, error) {
	if old := c.who.Load(); old == nil || member(old) != member(who) {
		return conversation.Expiry{}, Refuse(Forbidden, "the token is somebody else's")
	}
	if err := c.SetIdentity(ctx, who); err != nil {
		return conversation.Expiry{}, err
	}
	return conversation.Expiry{ExpiresAt: expiry(who)}, nil
}

// describe stores what the token of a user says, so that operators see it.
func (s *Service) describe(ctx context.Context, who *auth.Identity) error {
	if !s.isClosed() || who.Role != auth.User || who.Visitor || s.can.people == nil {
		return nil
	}
	_, err := s.can.people.PutPerson(ctx, history.Person{
		UserID: who.Subject, Name: who.Name, Email: who.Email, Attributes: who.Attributes, Verified: true,
	})
	if err != nil {
		return s.storeError(ctx, "store user", err)
	}
	return nil
}

// Identify makes the visitor that the client is a user of the site, who it has proved to be. The
// visitor's conversations are the user's from now on.
func (c *Client) Identify(ctx context.Context, user *auth.Identity) (answer conversation.Identified, err error) {
	s, visitor := c.service, c.who.Load()
	if visitor == nil || !visitor.Visitor {
		return answer, Refuse(Forbidden, "only visitors identify themselves")
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if user.Role != auth.User || user.Visitor {
		return answer, Refuse(Forbidden, "a visitor can become a user only")
	}
	var merged []history.Updated
	if s.can.people != nil {
		merged, err = s.log.Merge(ctx, visitor.Subject, user.Subject, func(room string) *history.Draft {
			return noteDraft(room, principalOf(user), &conversation.NoteContent{Event: "merged", From: visitor.Subject, To: user.Subject})
		})
		if err != nil {
			return answer, s.storeError(ctx, "merge users", err)
		}
	}
	if len(merged) > 0 {
		if err := s.describe(ctx, user); err != nil {
			return answer, err
		}
	}
	pending, begun := s.pending.give(visitor.Subject, s.conversationOf(user))
	if m := c.memberships[pending]; m != nil {
		now := *m.access.Load()
		now.owner, now.pending = user.Subject, begun
		m.access.Store(&now)
	}
	if err := c.SetIdentity(ctx, user); err != nil {
		return answer, err
	}
	if pending != "" {
		s.reconsider(pending, user.Subject, begun)
	}
	for i := range merged {
		room := &merged[i].Room
		s.reconsider(room.RoomID, user.Subject, nil)
		if now, err := s.can.rooms.Room(ctx, room.RoomID, history.Member{}); err == nil { // with the user's name
			room = &now
		}
		s.roomChanged(room)
	}
	if len(merged) > 0 {
		s.visitors.list(user.Subject) // what operators were shown before does not say that the user is there
	}
	answer.Merged = len(merged)
	answer.Me, err = s.me(ctx, user)
	return answer, err
}

// GetPerson returns a user with its conversations.
func (c *Client) GetPerson(ctx context.Context, q conversation.PersonRequest) (conversation.PersonAnswer, error) {
	return c.person(ctx, string(conversation.GetPerson), q.UserID, func(ctx context.Context) (history.Person, error) {
		return c.service.can.people.Person(ctx, q.UserID)
	})
}

// UpdatePerson changes what is known of a user. The name and the address that a signed token has said
// stay.
func (c *Client) UpdatePerson(ctx context.Context, q conversation.PersonUpdate) (conversation.PersonAnswer, error) {
	p := history.Person{UserID: q.UserID, Attributes: q.Attributes}
	if q.Name != nil {
		p.Name = *q.Name
	}
	if q.Email != nil {
		p.Email = *q.Email
	}
	if err := checkTexts([]text{{"name", p.Name, maxName}, {"email", p.Email, maxName}}); err != nil {
		return conversation.PersonAnswer{}, err
	}
	if q.Attributes != nil {
		if err := checkAttributes(q.Attributes); err != nil {
			return conversation.PersonAnswer{}, err
		}
	}
	return c.person(ctx, string(conversation.UpdatePerson), q.UserID, func(ctx context.Context) (history.Person, error) {
		if err := c.spend(messagesOf); err != nil {
			return p, err
		}
		people := c.service.can.people
		known, err := people.Person(ctx, q.UserID)
		switch {
		case err != nil && history.Code(err) != history.ErrNotFound.Code:
			return p, err
		case known.Verified && (cmp.Or(p.Name, known.Name) != known.Name || cmp.Or(p.Email, known.Email) != known.Email):
			return p, Refuse(Forbidden, "a signed token says the name and the address of this user")
		}
		return people.PutPerson(ctx, p)
	})
}

// person returns what get gets, for operators.
func (c *Client) person(ctx context.Context, event, userID string, get func(context.Context) (history.Person, error)) (answer conversation.PersonAnswer, err error) {
	s, who := c.service, c.who.Load()
	rule, _ := conversation.AccessTo(event)
	switch {
	case who == nil || !rule.Allows(who.Role, everything, false):
		return answer, Refuse(Forbidden, "only operators see users")
	case s.can.people == nil:
		return answer, errLacking
	case userID == "":
		return answer, Refuse(BadPayload, "userId is missing")
	}
	if err := checkText("userId", userID, history.MaxMemberID); err != nil {
		return answer, err
	}
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return answer, err
	}
	defer cancel()
	of := history.RoomQuery{UserID: userID, Limit: maxOpen, By: member(who)}
	rooms, rights, err := c.list(reading, who, of)
	if err != nil {
		return answer, err
	}
	if s.limited(who) && !rule.Allows(who.Role, rights, false) {
		return answer, Refuse(Forbidden, "this is not allowed to you in any conversation of this user")
	}
	p, err := get(reading)
	if err != nil {
		return answer, s.storeError(ctx, "read user", err)
	}
	if event == string(conversation.UpdatePerson) { // the conversations show the name
		if rooms, _, err = c.list(reading, who, of); err != nil {
			return answer, err
		}
	}
	answer.Rooms = rooms
	answer.Person = conversation.Person{
		UserID: p.UserID, Name: p.Name, Email: p.Email, Attributes: p.Attributes, Verified: p.Verified, Became: p.Became,
		CreatedAt: present(p.CreatedAt), SeenAt: present(p.SeenAt),
	}
	_, answer.Person.Online = s.visitors.shown(p.UserID)
	return answer, nil
}
