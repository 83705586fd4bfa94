package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// EditMessage changes a message.
func (c *Client) EditMessage(ctx context.Context, q conversation.EditRequest) (history.Message, error) {
	content, err := c.service.content(q.Message)
	if err != nil {
		return history.Message{}, err
	}
	return c.edit(ctx, string(conversation.EditMessage), history.Edit{RoomID: q.RoomID, Seq: q.Seq, Message: content, IfRev: q.IfRev})
}

// DeleteMessage makes a message a tombstone.
func (c *Client) DeleteMessage(ctx context.Context, q conversation.DeleteRequest) (history.Message, error) {
	return c.edit(ctx, string(conversation.DeleteMessage), history.Edit{RoomID: q.RoomID, Seq: q.Seq, IfRev: q.IfRev})
}

// edit changes or deletes a message, if the client may. If somebody else wrote it, a note says so.
func (c *Client) edit(ctx context.Context, event string, e history.Edit) (history.Message, error) {
	s, none := c.service, history.Message{}
	st, err := c.in(ctx, e.RoomID)
	if err != nil {
		return none, err
	}
	if err := st.may(event); err != nil {
		return none, err
	}
	switch {
	case s.can.editor == nil:
		return none, errLacking
	case e.Seq < 1:
		return none, Refuse(BadPayload, "seq must be at least 1")
	case e.IfRev < 0:
		return none, Refuse(BadPayload, "ifRev cannot be negative")
	}
	if err := c.spend(messagesOf); err != nil {
		return none, err
	}
	if err := c.payIn(ctx, e.RoomID, len(e.Message)+envelope); err != nil {
		return none, err
	}
	if err := c.payStored(len(e.Message)); err != nil {
		return none, err
	}
	bounded, cancel := s.bounded(context.WithoutCancel(ctx))
	defer cancel()
	m, err := s.can.editor.Message(bounded, e.RoomID, e.Seq)
	if err != nil {
		return none, s.storeError(ctx, "read message", err)
	}
	mine, err := c.mayEdit(bounded, st, &m, e.Message == nil)
	if err != nil {
		return none, err
	}
	if !mine && st.owner != "" {
		note := conversation.NoteContent{Event: "edited", Seq: e.Seq}
		if e.Message == nil {
			note.Event = "deleted"
		}
		e.Note = noteDraft(e.RoomID, st.who, &note)
	}
	edited, err := s.log.Edit(bounded, e)
	var conflict *history.Conflict
	if errors.As(err, &conflict) && conflict.Message != nil {
		return none, &Error{
			Code: Conflicted, Message: "the message has changed meanwhile",
			Data: &conversation.RefusalData{Message: conflict.Message},
		}
	}
	if err != nil {
		return none, s.storeError(ctx, "edit message", err)
	}
	return edited.Message, nil
}

// mayEdit refuses a change of a message that the client may not make. It reports whether the client
// itself wrote the message.
func (c *Client) mayEdit(ctx context.Context, st *access, m *history.Message, deletes bool) (mine bool, err error) {
	author := history.Member{UserID: m.UserID}
	if m.OperatorID != "" {
		author = history.Member{OperatorID: m.OperatorID}
	}
	switch mine, err = c.isAuthor(ctx, st.who, author); {
	case err != nil:
		return false, err
	case mine && author.OperatorID != "", st.role == auth.Admin, st.role == auth.Service:
		return mine, nil
	case deletes && author.OperatorID == "" && st.rights.Has(auth.Manage):
		return mine, nil
	case !mine:
		return false, Refuse(Forbidden, "somebody else wrote this message")
	case time.Since(m.Timestamp.Time) > c.service.opts.EditWindow:
		return false, Refuse(TooLate, "the time in which you may change this message is over")
	}
	return true, nil
}

// isAuthor reports whether the client is the author of a message: under its own id, or as the visitor
// that it was.
func (c *Client) isAuthor(ctx context.Context, who Principal, author history.Member) (bool, error) {
	if who.reader() == author {
		return true, nil
	}
	identity := c.who.Load()
	if who.OperatorID != "" || author.OperatorID != "" || identity == nil || identity.Visitor || c.service.can.people == nil {
		return false, nil
	}
	ids, err := c.service.can.people.Identities(ctx, who.UserID)
	if err != nil {
		return false, c.service.storeError(ctx, "read user", err)
	}
	return slices.Contains(ids, author.UserID), nil
}

// payStored charges the client's address for bytes that are stored.
func (c *Client) payStored(bytes int) error {
	s, payer := c.service, c.reader.payer
	if payer == "" {
		return nil
	}
	if wait := s.accounts.stored.Allow(payer, s.opts.Budgets[budget.Stored], bytes); wait > 0 {
		return s.overQuota(budget.Stored, payer, "too much from this address was stored: try again later", wait)
	}
	return nil
}
