package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/jsonscan"
)

// maxSending is the maximum number of messages of one client that wait for the store. At this limit
// the sender of the next message waits, and so does everything the client sends after it.
const maxSending = 16

// A SendRequest is a message to send. UserID and OperatorID add to the identity that the client
// gave when it joined the room. ClientID is the sender's own id of the message, which makes sure
// that it is stored only once; it may be empty.
type SendRequest = conversation.SendRequest

// Send stores a message. Unless it returns an error, it calls done once, with the stored message or
// an error, when the store has answered or the time is up. That may be before Send returns. done
// must not block. The message is stored even if ctx ends, unless it still waits for a budget.
func (c *Client) Send(ctx context.Context, q SendRequest, done func(history.Message, error)) error {
	m, err := c.member(q.RoomID)
	if err != nil {
		return err
	}
	d, err := c.draft(m, &q)
	if err != nil {
		return err
	}
	if d.Conversation != nil {
		ended, err := c.first(ctx, &d)
		if err != nil {
			return err
		}
		defer ended()
	}
	if err := c.spendMessage(q.Message, q.ClientID); err != nil {
		return err
	}
	if err := c.pay(ctx, m.place, len(q.Message)+envelope); err != nil {
		return err
	}
	reserved, err := c.reserve(&d, m.live.subscription.Head() == 0)
	if err != nil {
		return err
	}
	if d.Conversation != nil || c.sending.Load() >= maxSending {
		bounded, cancel := c.service.bounded(context.WithoutCancel(ctx))
		defer cancel()
		stored, err := c.service.log.Append(bounded, d)
		c.service.settle(reserved, stored, err)
		m.sent(&d, err)
		done(c.service.appended(stored, err))
		return nil
	}
	late := time.AfterFunc(c.service.opts.Timeout, func() {
		done(c.service.appended(history.Appended{}, history.ErrUnknownOutcome))
	})
	c.sending.Add(1)
	err = c.service.log.AppendFunc(d, func(stored history.Appended, err error) {
		c.sending.Add(-1)
		c.service.settle(reserved, stored, err)
		m.sent(&d, err)
		if late.Stop() {
			done(c.service.appended(stored, err))
		}
	})
	if err != nil {
		c.sending.Add(-1)
		late.Stop()
		c.service.settle(reserved, history.Appended{}, err)
		return c.service.storeError(context.Background(), "append message", err)
	}
	return nil
}

// sent notes that a message was stored, unless there was an error.
func (m *membership) sent(d *history.Draft, err error) {
	if err != nil {
		return
	}
	s := m.client.service
	if d.Conversation != nil {
		s.pending.begun(d.RoomID)
		old := m.access.Load()
		now := *old
		now.pending = nil
		m.access.CompareAndSwap(old, &now) // otherwise somebody else has decided meanwhile
	}
	if d.OperatorID == "" && m.place.room.closed.Swap(false) || d.Conversation != nil {
		go s.changedByMessage(d.RoomID)
	}
}

// pay waits until the client, and then the room, may send a message of size bytes.
func (c *Client) pay(ctx context.Context, p *place, size int) error {
	err := c.service.afford(ctx, budget.Messages, &p.messages, 1)
	if err == nil {
		err = c.service.afford(ctx, budget.MessageBytes, &p.bytes, size)
	}
	if err == nil {
		err = p.send(ctx, c.service, size)
	}
	return err
}

// draft checks a message and converts it to a draft.
func (c *Client) draft(m *membership, q *SendRequest) (d history.Draft, err error) {
	a := m.access.Load()
	if err := a.need(auth.Write); err != nil {
		return d, err
	}
	if q.Message, err = c.service.content(q.Message); err != nil {
		return d, err
	}
	if err := checkText("clientId", q.ClientID, history.MaxClientID); err != nil {
		return d, err
	}
	who := a.who
	identity := c.who.Load()
	if identity != nil && identity.Role == auth.Service && (q.UserID != "" || q.OperatorID != "") {
		who, identity = Principal{}, nil // it acts as anybody
	}
	who, err = who.complete(c.peer.ID(), q.UserID, q.OperatorID, identity != nil)
	if err != nil {
		return d, err
	}
	if a.owner != "" && who.OperatorID != "" {
		if who.UserID != "" && who.UserID != a.owner {
			return d, Refuse(IdentityMismatch, "the conversation is that of another user")
		}
		who.UserID = a.owner
	}
	d = history.Draft{
		RoomID: q.RoomID, UserID: who.UserID, OperatorID: who.OperatorID,
		ClientID: q.ClientID, Message: q.Message, Conversation: a.pending,
	}
	if a.owner != "" {
		d.KeepOperator = c.service.operatorIsThere
	}
	return d, nil
}

// content checks the content of a message. If it is too large, content tries whether it is without
// white space.
func (s *Service) content(message json.RawMessage) (json.RawMessage, error) {
	if message == nil {
		return nil, Refuse(BadPayload, "message is missing")
	}
	switch jsonscan.Check(message, maxDepth) {
	case jsonscan.ErrDepth:
		return nil, Refuse(BadPayload, "message is nested more than %d deep", maxDepth)
	case jsonscan.ErrSyntax:
		return nil, Refuse(BadPayload, "message is not JSON")
	}
	if limit := s.opts.MaxMessage; limit > 0 && len(message) > limit {
		var compact bytes.Buffer
		json.Compact(&compact, message) // it is JSON
		if message = compact.Bytes(); len(message) > limit {
			return nil, Refuse(TooLarge, "the message is too large")
		}
	}
	return message, nil
}

// operatorIsThere reports whether an operator keeps a conversation that its user reopens.
func (s *Service) operatorIsThere(id string) bool {
	_, online := s.staff.shown(id)
	return online
}

// appended converts the store's result to what the sender receives.
func (s *Service) appended(stored history.Appended, err error) (history.Message, error) {
	if err != nil {
		return history.Message{}, s.storeError(context.Background(), "append message", err)
	}
	if s.opts.Appended != nil {
		s.opts.Appended(stored.Dup)
	}
	return stored.Message, nil
}

// Event returns the event that tells clients of a stored message.
func Event(m *history.Message) string {
	_, note := history.NotesOf(m.RoomID)
	switch {
	case note && m.Rev > 0:
		return string(conversation.NoteChanged)
	case note:
		return string(conversation.NewNote)
	case m.Rev > 0:
		return string(conversation.MessageChanged)
	}
	return string(conversation.NewMessage)
}

// EncodeMessage returns a stored message as JSON. A note has the id of its conversation.
func EncodeMessage(m *history.Message) json.RawMessage {
	const others = 250 // approximate bytes of the other members
	if room, ok := history.NotesOf(m.RoomID); ok {
		note := *m
		note.RoomID = room
		m = &note
	}
	return m.AppendJSON(make([]byte, 0, others+len(m.Message)))
}
