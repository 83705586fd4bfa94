package chat

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/jsonscan"
)

// StartConversation begins a conversation of the user that the client is. If the user has as many open
// ones as it may have, the newest of them is the answer, and the message goes there.
//
// Without a message, the conversation is the user's alone, and nothing of it is stored until its first
// message comes. With a message that has a client id, you may repeat the call: the id of the
// conversation follows from the client id, and the message is stored once.
func (c *Client) StartConversation(ctx context.Context, q conversation.StartRequest) (answer conversation.Started, err error) {
	s, who := c.service, c.who.Load()
	if who == nil || who.Role != auth.User {
		return answer, Refuse(Forbidden, "only users start conversations; a client says who it is in the auth of CONNECT")
	}
	if s.can.rooms == nil {
		return answer, errLacking
	}
	begun, err := c.beginning(who, &q)
	if err != nil {
		return answer, err
	}
	room := conversationID(who.Subject, q.ClientID)
	a := access{owner: who.Subject, own: true, role: who.Role, rights: s.rights(who, room, who.Subject, true), pending: begun}
	if err := a.may(string(conversation.StartConversation)); err != nil {
		return answer, err
	}
	if err := a.need(auth.Read | auth.Write); err != nil {
		return answer, err
	}
	ended, err := s.starts.take(ctx, who.Subject)
	if err != nil {
		return answer, err
	}
	defer ended()
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return answer, err
	}
	defer cancel()
	existing, err := s.begunAs(reading, who, room, &q)
	if err != nil {
		return answer, err
	}
	if open, err := s.insteadOfNew(reading, who.Subject); err != nil {
		return answer, err
	} else if open != nil {
		existing = open
	}
	switch {
	case existing != nil:
		answer.Existing, room, a.pending = true, existing.RoomID, nil
		a.rights = s.rights(who, room, who.Subject, true)
		if err := a.need(auth.Read | auth.Write); err != nil {
			return answer, err
		}
		if q.Message == nil {
			answer.Room = s.show(existing, &a)
			return answer, nil
		}
	case q.Message == nil:
		pending := s.pending.user(who.Subject)
		if pending == "" {
			if err := c.spend(conversationsOf); err != nil {
				return answer, err
			}
		}
		room = s.pending.begin(cmp.Or(pending, room), *begun)
		answer.Room = s.show(pendingRow(room, begun), &a)
		return answer, nil
	default:
		if err := c.spend(conversationsOf); err != nil {
			return answer, err
		}
	}
	stored, err := c.sendFrom(ctx, &a, room, &q)
	if err != nil {
		return answer, err
	}
	answer.Message = &stored
	s.pending.begun(room)
	if who.Attributes != nil && !answer.Existing {
		if err := s.describe(reading, who); err != nil {
			return answer, err
		}
	}
	row, err := s.can.rooms.Room(reading, room, member(who))
	if err != nil {
		return answer, s.storeError(ctx, "read room", err)
	}
	answer.Room = s.show(&row, &a)
	if !answer.Existing {
		s.roomChangedFor(&row, c)
	}
	return answer, nil
}

// begunAs returns the conversation that a user has begun with the client id of a request, or nil. It
// may be somebody else's by now: the user was a visitor who has become a user of the site, and whoever
// has the visitor's token has no right to it. Nor may a conversation begin in a room that others are in.
func (s *Service) begunAs(ctx context.Context, who *auth.Identity, room string, q *conversation.StartRequest) (*history.Room, error) {
	if q.ClientID == "" {
		return nil, nil // nobody can know the id
	}
	row, err := s.can.rooms.Room(ctx, room, member(who))
	switch {
	case history.Code(err) == history.ErrNotFound.Code:
		return nil, nil
	case err != nil:
		return nil, s.storeError(ctx, "read room", err)
	case row.UserID != who.Subject:
		return nil, Refuse(KeyReuse, "this clientId belongs to another conversation")
	}
	return &row, nil
}

// insteadOfNew returns the newest open conversation of a user that has as many as it may have, and
// otherwise nil.
func (s *Service) insteadOfNew(ctx context.Context, user string) (*history.Room, error) {
	most := cmp.Or(s.opts.MaxOpenConversations, 1)
	open, err := s.can.rooms.ListRooms(ctx, history.RoomQuery{
		UserID: user, Status: history.Open, Limit: most, By: history.Member{UserID: user},
	})
	switch {
	case err != nil:
		return nil, s.storeError(ctx, "list conversations", err)
	case len(open.Rooms) < most:
		return nil, nil
	}
	return &open.Rooms[0], nil
}

// first prepares the first message of a pending conversation. It refuses the message if its user has
// begun as many others meanwhile as it may have, or in a short time. The caller calls ended when the
// message is stored.
func (c *Client) first(ctx context.Context, d *history.Draft) (ended func(), err error) {
	ended, err = c.service.starts.take(ctx, d.UserID)
	if err != nil {
		return nil, err
	}
	if err := c.mayBegin(ctx, d); err != nil {
		ended()
		return nil, err
	}
	return ended, nil
}

func (c *Client) mayBegin(ctx context.Context, d *history.Draft) error {
	s := c.service
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return err
	}
	defer cancel()
	switch _, err = s.can.rooms.Room(reading, d.RoomID, history.Member{}); {
	case err == nil: // another client of the user was faster
		return nil
	case history.Code(err) != history.ErrNotFound.Code:
		return s.storeError(ctx, "read room", err)
	}
	existing, err := s.insteadOfNew(reading, d.UserID)
	if err != nil {
		return err
	}
	if existing == nil {
		if who := c.who.Load(); who != nil && s.pending.of(d.RoomID) == nil { // nothing is known of it any more
			if d.Conversation, err = c.beginning(who, &conversation.StartRequest{}); err == nil {
				err = c.spend(conversationsOf)
			}
		}
		return err
	}
	shown := s.row(existing, forUser)
	return &Error{
		Code: Conflicted, Message: "there is another open conversation: write there",
		Data: &conversation.RefusalData{Room: &shown},
	}
}

// starts lets each user begin one conversation at a time, so that the next one sees it. It is safe for
// concurrent use.
type starts struct {
	mu      sync.Mutex
	running map[string]chan struct{} // by user; closed when the start has ended
}

// take waits for the user's turn. The caller ends it.
func (t *starts) take(ctx context.Context, user string) (end func(), err error) {
	for {
		t.mu.Lock()
		running := t.running[user]
		if running == nil {
			running = make(chan struct{})
			t.running = put(t.running, user, running)
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.running, user)
				t.mu.Unlock()
				close(running)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ErrGone
		}
	}
}

// errLacking refuses what needs a capability that the store does not have.
var errLacking = Refuse(Unavailable, "the store cannot do this")

// beginning checks what a user says of a new conversation.
func (c *Client) beginning(who *auth.Identity, q *conversation.StartRequest) (*history.Conversation, error) {
	if err := checkText("subject", q.Subject, history.MaxSubject); err != nil {
		return nil, err
	}
	if err := checkText("clientId", q.ClientID, history.MaxClientID); err != nil {
		return nil, err
	}
	attributes := map[string]json.RawMessage{}
	if q.Attributes != nil {
		if err := checkAttributes(q.Attributes); err != nil {
			return nil, err
		}
		json.Unmarshal(q.Attributes, &attributes) // it is an object
	}
	if err := checkPage(q.Page); err != nil {
		return nil, err
	}
	delete(attributes, "visit")
	visit := c.visit.or(q.Page)
	encoded := withVisit(attributes, visit)
	if len(encoded) > history.MaxAttributes && visit != nil && visit.Page != nil { // the page where the visitor came from is the first to go
		short := *visit
		short.Page = &conversation.VisitedPage{URL: visit.Page.URL, Title: visit.Page.Title}
		if encoded = withVisit(attributes, &short); len(encoded) > history.MaxAttributes {
			encoded = withVisit(attributes, nil)
		}
	}
	begun := c.service.conversationOf(who)
	begun.Subject, begun.Attributes = q.Subject, encoded
	return begun, nil
}

// conversationOf returns a new conversation of a user.
func (s *Service) conversationOf(who *auth.Identity) *history.Conversation {
	return &history.Conversation{UserID: who.Subject, Name: who.Name, Email: who.Email, Verified: s.isClosed() && !who.Visitor}
}

func withVisit(attributes map[string]json.RawMessage, v *visit) json.RawMessage {
	if v != nil {
		attributes["visit"], _ = json.Marshal(v) // cannot fail
	} else {
		delete(attributes, "visit")
	}
	if len(attributes) == 0 {
		return nil
	}
	encoded, _ := json.Marshal(attributes) // neither can this
	return encoded
}

// checkAttributes refuses what cannot be attributes, or a merge patch of some.
func checkAttributes(object json.RawMessage) error {
	if len(object) > history.MaxAttributes || !bytes.HasPrefix(bytes.TrimLeft(object, " \t\r\n"), []byte("{")) || jsonscan.Check(object, maxDepth) != nil {
		return Refuse(BadPayload, "attributes must be an object of at most %d bytes, nested at most %d deep", history.MaxAttributes, maxDepth)
	}
	return nil
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// conversationPrefix begins the ids of conversations.
const conversationPrefix = "c_"

// halfID is the length of each half of a conversation's id: 65 bits.
const halfID = 13

// conversationID returns the id of a new conversation: one that nobody can guess or, with a client
// id, the same one each time that the user asks for it. The second half follows from the first and from
// the user. So an id is known as that of a user's conversation before anything of it is stored.
func conversationID(user, clientID string) string {
	half := strings.ToLower(rand.Text())[:halfID]
	if clientID != "" {
		half = digest("startConversation", user, clientID)
	}
	return conversationPrefix + half + digest("conversation", user, half)
}

// isConversationOf reports whether an id is that of a conversation that a user has begun, or could begin.
func isConversationOf(user, room string) bool {
	id, ok := strings.CutPrefix(room, conversationPrefix)
	return ok && len(id) == 2*halfID && id[halfID:] == digest("conversation", user, id[:halfID])
}

// digest returns half an id.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return lowerBase32.EncodeToString(sum[:])[:halfID]
}

// pendingRow returns a conversation that has no message yet.
func pendingRow(room string, c *history.Conversation) *history.Room {
	now := history.TimeMilli(time.Now().UnixMilli())
	return &history.Room{
		RoomID: room, UserID: c.UserID, Status: history.Open, Subject: c.Subject, Labels: c.Labels, Attributes: c.Attributes,
		CreatedAt: now, LastAt: now,
	}
}

// sendFrom stores a message of the client's user in a room that it need not have joined.
func (c *Client) sendFrom(ctx context.Context, a *access, room string, q *conversation.StartRequest) (history.Message, error) {
	s := c.service
	content, err := s.content(q.Message)
	if err != nil {
		return history.Message{}, err
	}
	d := history.Draft{
		RoomID: room, UserID: c.who.Load().Subject, ClientID: q.ClientID, Message: content,
		Conversation: a.pending, KeepOperator: s.operatorIsThere,
	}
	return c.append(ctx, d, a.pending != nil)
}

// append stores a message and returns when it is stored. It charges everybody whom Send would charge.
func (c *Client) append(ctx context.Context, d history.Draft, newRoom bool) (history.Message, error) {
	s := c.service
	if err := c.spendMessage(d.Message, d.ClientID); err != nil {
		return history.Message{}, err
	}
	if err := c.payIn(ctx, d.RoomID, len(d.Message)+envelope); err != nil {
		return history.Message{}, err
	}
	reserved, err := c.reserve(&d, newRoom)
	if err != nil {
		return history.Message{}, err
	}
	bounded, cancel := s.bounded(context.WithoutCancel(ctx))
	defer cancel()
	stored, err := s.log.Append(bounded, d)
	s.settle(reserved, stored, err)
	if r := s.presence.known(d.RoomID); err == nil && d.OperatorID == "" && r != nil && r.closed.Swap(false) {
		s.changedByMessage(d.RoomID)
	}
	return s.appended(stored, err)
}

// payIn is pay, for a room that the client need not have joined.
func (c *Client) payIn(ctx context.Context, room string, size int) error {
	if m := c.memberships[room]; m != nil && !m.gone.Load() {
		return c.pay(ctx, m.place, size)
	}
	p := c.service.presence.place(room, c.peer)
	defer p.leave()
	return c.pay(ctx, p, size)
}
