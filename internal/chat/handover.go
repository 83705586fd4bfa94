package chat

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// maxNote is the size of a note that goes with a transfer or with closing, in bytes.
const maxNote = 2000

// ClaimRoom gives a conversation that nobody has to the operator that the client is.
func (c *Client) ClaimRoom(ctx context.Context, q conversation.RoomRequest) (conversation.Room, error) {
	return c.update(ctx, string(conversation.ClaimRoom), q.RoomID, func(st *access, _ *history.Room, u *history.RoomUpdate) (conversation.NoteContent, error) {
		u.OperatorID, u.IfOperator = &st.who.OperatorID, new(string)
		return conversation.NoteContent{Event: "claimed", To: st.who.OperatorID}, nil
	})
}

// TransferRoom gives a conversation to an operator, or to nobody. In a closed server, the operator must be
// one that exists.
func (c *Client) TransferRoom(ctx context.Context, q conversation.TransferRequest) (conversation.Room, error) {
	to := q.OperatorID.OperatorID
	if err := checkTexts([]text{{"operatorId", to, history.MaxMemberID}, {"note", q.Note, maxNote}}); err != nil {
		return conversation.Room{}, err
	}
	return c.update(ctx, string(conversation.TransferRoom), q.RoomID, func(_ *access, now *history.Room, u *history.RoomUpdate) (conversation.NoteContent, error) {
		if to != "" && to != now.OperatorID && !c.service.staff.exists(to) {
			return conversation.NoteContent{}, Refuse(NotFound, "there is no operator %q", to)
		}
		from := now.OperatorID
		if q.From.Given {
			from = q.From.OperatorID
		}
		u.OperatorID, u.IfOperator = &to, &from
		return conversation.NoteContent{Event: "transferred", From: from, To: to, Note: q.Note}, nil
	})
}

// CloseRoom closes a conversation. Its user may do so, too.
func (c *Client) CloseRoom(ctx context.Context, q conversation.CloseRequest) (conversation.Room, error) {
	if err := checkText("note", q.Note, maxNote); err != nil {
		return conversation.Room{}, err
	}
	return c.update(ctx, string(conversation.CloseRoom), q.RoomID, func(st *access, _ *history.Room, u *history.RoomUpdate) (conversation.NoteContent, error) {
		if q.Note != "" && !st.operates {
			return conversation.NoteContent{}, Refuse(Forbidden, "only operators write notes")
		}
		closed := history.Closed
		u.Status = &closed
		return conversation.NoteContent{Event: "closed", Note: q.Note}, nil
	})
}

// ReopenRoom opens a closed conversation again. If its user does so, it keeps its operator only if that
// one is there.
func (c *Client) ReopenRoom(ctx context.Context, q conversation.RoomRequest) (conversation.Room, error) {
	return c.update(ctx, string(conversation.ReopenRoom), q.RoomID, func(st *access, now *history.Room, u *history.RoomUpdate) (conversation.NoteContent, error) {
		open := history.Open
		u.Status = &open
		if had := now.OperatorID; !st.operates && now.Status == history.Closed && had != "" && !c.service.operatorIsThere(had) {
			u.OperatorID, u.IfOperator = new(string), &had
		}
		return conversation.NoteContent{Event: "reopened"}, nil
	})
}

// Answered says that a conversation needs no reply.
func (c *Client) Answered(ctx context.Context, q conversation.RoomRequest) (conversation.Room, error) {
	return c.update(ctx, string(conversation.Answered), q.RoomID, func(_ *access, _ *history.Room, u *history.RoomUpdate) (conversation.NoteContent, error) {
		u.Answered = true
		return conversation.NoteContent{Event: "answered"}, nil
	})
}

// UpdateRoom changes what a conversation is about.
func (c *Client) UpdateRoom(ctx context.Context, q conversation.UpdateRequest) (conversation.Room, error) {
	if q.Subject != nil {
		if err := checkText("subject", *q.Subject, history.MaxSubject); err != nil {
			return conversation.Room{}, err
		}
	}
	if len(q.AddLabels) > history.MaxLabels {
		return conversation.Room{}, Refuse(BadPayload, "a conversation can have %d labels", history.MaxLabels)
	}
	for _, label := range append(append([]string{}, q.AddLabels...), q.RemoveLabels...) {
		if err := checkText("labels", label, history.MaxLabel); err != nil || label == "" {
			return conversation.Room{}, Refuse(BadPayload, "a label must have 1 to %d bytes without control characters", history.MaxLabel)
		}
	}
	if q.Attributes != nil {
		if err := checkAttributes(q.Attributes); err != nil {
			return conversation.Room{}, err
		}
	}
	return c.update(ctx, string(conversation.UpdateRoom), q.RoomID, func(_ *access, _ *history.Room, u *history.RoomUpdate) (conversation.NoteContent, error) {
		u.Subject, u.AddLabels, u.RemoveLabels, u.Attributes = q.Subject, q.AddLabels, q.RemoveLabels, q.Attributes
		note := conversation.NoteContent{Event: "updated", Added: q.AddLabels, Removed: q.RemoveLabels}
		if q.Subject == nil && q.Attributes == nil {
			note.Event = "labelled"
		}
		return note, nil
	})
}

// updateAttempts is how often an update that depends on the conversation's operator is tried, if
// others change that meanwhile.
const updateAttempts = 3

// A change fills in an update of a conversation that is as now says, and returns the note of it.
type change func(st *access, now *history.Room, u *history.RoomUpdate) (conversation.NoteContent, error)

// update changes a conversation, together with the note that says who did what.
func (c *Client) update(ctx context.Context, event, room string, change change) (conversation.Room, error) {
	s := c.service
	st, err := c.in(ctx, room)
	if err != nil {
		return conversation.Room{}, err
	}
	if err := c.mayIn(st, event); err != nil {
		return conversation.Room{}, err
	}
	switch {
	case s.can.rooms == nil:
		return conversation.Room{}, errLacking
	case st.owner == "" || st.pending != nil:
		return conversation.Room{}, errNoConversation
	}
	if err := c.spend(messagesOf); err != nil {
		return conversation.Room{}, err
	}
	bounded, cancel := s.bounded(context.WithoutCancel(ctx))
	defer cancel()
	var updated history.Updated
	for range updateAttempts {
		now, err := s.can.rooms.Room(bounded, room, st.who.reader())
		if err != nil {
			return conversation.Room{}, s.storeError(ctx, "read room", err)
		}
		u := history.RoomUpdate{RoomID: room}
		note, err := change(st, &now, &u)
		if err != nil {
			return conversation.Room{}, err
		}
		u.Note = noteDraft(room, st.who, &note)
		updated, err = s.log.UpdateRoom(bounded, u)
		var conflict *history.Conflict
		switch {
		case err == nil:
			if updated.Changed {
				s.roomChanged(&updated.Room)
			}
			return s.show(&updated.Room, st), nil
		case !errors.As(err, &conflict) || conflict.Room == nil:
			return conversation.Room{}, s.storeError(ctx, "update room", err)
		}
		updated.Room = *conflict.Room
		if updated.Room.OperatorID == now.OperatorID { // the condition was the client's
			break
		}
	}
	shown := s.show(&updated.Room, st)
	return conversation.Room{}, &Error{
		Code: Conflicted, Message: "somebody else was faster, or the conversation is no longer as you believe",
		Data: &conversation.RefusalData{Room: &shown},
	}
}

// noteDraft returns the note that says what somebody did.
func noteDraft(room string, by Principal, n *conversation.NoteContent) *history.Draft {
	content, _ := json.Marshal(n) // cannot fail
	d := &history.Draft{RoomID: history.NotesRoom(room), OperatorID: by.OperatorID, Message: content}
	if by.OperatorID == "" {
		d.UserID = by.UserID
	}
	return d
}

// roomChanged tells the members of a conversation, and the other clients of its user, that it has
// changed.
func (s *Service) roomChanged(r *history.Room) { s.roomChangedFor(r, nil) }

// roomChangedFor is roomChanged, except that one client of the user knows it, which is not a member.
func (s *Service) roomChangedFor(r *history.Room, knows *Client) {
	s.roomChangedHere(r, knows)
	s.cluster.say(word{Changed: &changedWord{r.RoomID, r.UserID}})
}

// roomChangedHere is roomChangedFor for the clients of this server.
func (s *Service) roomChangedHere(r *history.Room, knows *Client) {
	s.founded(r.RoomID, r.UserID)
	s.changes.Add(1)
	s.presence.setClosed(r.RoomID, r.Status == history.Closed)
	event := string(conversation.RoomChanged)
	row := s.show(r, &access{operates: true})
	row.Unread, row.ReadSeq = nil, nil
	s.opts.Announcer.Announce(whole.channel(r.RoomID), event, conversation.RoomNews{Room: row}, nil)
	own := newNotice(conversation.RoomChanged, conversation.OwnRoomNews{Room: conversation.OwnRoom{
		RoomID: r.RoomID, Status: r.Status, Operator: row.Operator, Subject: r.Subject,
	}})
	s.opts.Announcer.Announce(trimmed.channel(r.RoomID), own.Event, own.Payload, nil)
	told := map[*Client]bool{knows: true}
	clients := s.connected.clients(history.Member{UserID: r.UserID})
	if len(clients) > 0 {
		for _, m := range s.presence.memberships(r.RoomID) {
			told[m.client] = told[m.client] || m.access.Load().view() == trimmed
		}
	}
	for _, c := range clients {
		if who := c.Identity(); !told[c] && who != nil && s.rights(who, r.RoomID, r.UserID, true).Has(auth.Read) {
			c.peer.Announce(own)
		}
	}
}

// changedByMessage is called after a message of its user that has made a conversation, or reopened it.
func (s *Service) changedByMessage(room string) {
	ctx, cancel := s.bounded(context.Background())
	defer cancel()
	if r, err := s.can.rooms.Room(ctx, room, history.Member{}); err == nil {
		s.roomChanged(&r)
	}
}
