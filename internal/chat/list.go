package chat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// maxList is the maximum number of conversations in a page of a list. A row may have 6 KiB, most of
// it attributes.
const maxList = 100

// ListRooms returns a page of the conversations: of all that an operator may read, or of the user's
// own. A page may be shorter than asked for although there are more.
func (c *Client) ListRooms(ctx context.Context, q conversation.ListRequest) (list conversation.RoomList, err error) {
	s, who := c.service, c.Identity()
	query, err := s.roomQuery(who, q.Filter, q.Sort, q.Limit)
	if err != nil {
		return list, err
	}
	query.Cursor = q.Cursor
	err = c.readRooms(ctx, func(ctx context.Context) (int, error) {
		page, err := s.can.rooms.ListRooms(ctx, query)
		if err == nil && q.Cursor == "" {
			list.Counts, err = s.counts(ctx, who, query.By)
		}
		list.Rooms, list.Next = s.rows(who, page.Rooms), page.Next
		return len(page.Rooms), err
	})
	return list, err
}

// rowSize is about how many bytes of the store are read for a row of a list.
const rowSize = 1 << 10

// readRooms calls read when the client and its address are within their budgets, and charges them for
// the number of rows that it returns.
func (c *Client) readRooms(ctx context.Context, read func(context.Context) (rows int, err error)) error {
	s := c.service
	if s.can.rooms == nil {
		return Refuse(Unavailable, "the store of this server keeps no list of conversations")
	}
	if err := s.afford(ctx, budget.Pages, &c.pages, 1); err != nil {
		return err
	}
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return err
	}
	defer cancel()
	rows, err := read(reading)
	s.chargeBytes(&c.reader, rows*rowSize)
	if err != nil {
		return s.storeError(ctx, "read list of conversations", err)
	}
	return nil
}

// mayRead reports whether who may read a conversation of the list that it asks for, which is the user's
// own if who is one.
func (s *Service) mayRead(who *auth.Identity, room, owner string) bool {
	return s.rights(who, room, owner, !operates(who)).Has(auth.Read)
}

// rows returns what who may see of conversations.
func (s *Service) rows(who *auth.Identity, rooms []history.Room) []conversation.Room {
	rows, v := make([]conversation.Room, 0, len(rooms)), forUser
	if operates(who) {
		v = forAsker
	}
	for i := range rooms {
		if r := &rooms[i]; s.mayRead(who, r.RoomID, r.UserID) {
			rows = append(rows, s.row(r, v))
		}
	}
	return rows
}

// counts returns the numbers of open conversations. Operators who may not read all of them learn
// nothing about the others, and users nothing about others' conversations.
func (s *Service) counts(ctx context.Context, who *auth.Identity, by history.Member) (*history.RoomCounts, error) {
	if !operates(who) || s.limited(who) {
		return nil, nil
	}
	counts, err := s.can.rooms.CountRooms(ctx, by)
	return &counts, err
}

// roomQuery checks which part of a list who asks for.
func (s *Service) roomQuery(who *auth.Identity, f *conversation.Filter, sort string, limit int) (q history.RoomQuery, err error) {
	if who == nil {
		return q, Refuse(Forbidden, "say who you are when you connect")
	}
	if who.Role != auth.Service {
		q.By = member(who)
	}
	asked, err := s.limit(limit)
	if err != nil {
		return q, err
	}
	q.Limit = min(asked.Messages, maxList)
	switch q.Sort = history.RoomSort(cmp.Or(sort, string(history.ByActivity))); q.Sort {
	case history.ByActivity, history.ByWaiting, history.ByCreated:
	default:
		return q, Refuse(BadPayload, "sort must be activity, waiting or created")
	}
	if f == nil {
		f = new(conversation.Filter)
	}
	switch cmp.Or(f.Status, "open") {
	case "open":
		q.Status = history.Open
	case "closed":
		q.Status = history.Closed
	case "all":
	default:
		return q, Refuse(BadPayload, "filter.status must be open, closed or all")
	}
	q.Waiting, q.Unread, q.Label, q.UserID = f.Waiting, f.Unread, f.Label, f.UserID
	if err := checkText("filter.userId", q.UserID, history.MaxMemberID); err != nil {
		return q, err
	}
	if err := checkText("filter.label", q.Label, history.MaxLabel); err != nil {
		return q, err
	}
	if !operates(who) {
		if cmp.Or(q.UserID, who.Subject) != who.Subject || q.Label != "" || len(f.Assignee) > 0 {
			return q, Refuse(Forbidden, "a user sees its own conversations, and neither their labels nor their operators' lists")
		}
		q.UserID = who.Subject
		return q, nil
	}
	q.Assignee, err = assignee(f.Assignee, who.Subject)
	return q, err
}

// assignee reads Filter.Assignee.
func assignee(value json.RawMessage, me string) (a history.Assignee, err error) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || string(value) == "null" {
		return a, nil
	}
	var name string
	var by struct {
		OperatorID string `json:"operatorId"`
	}
	if json.Unmarshal(value, &name) == nil {
		switch name {
		case "any":
			return a, nil
		case "none":
			return history.Assignee{Kind: history.NoAssignee}, nil
		case "me":
			return history.Assignee{Kind: history.AssignedTo, OperatorID: me}, nil
		case "others":
			return history.Assignee{Kind: history.AssignedToOthers, OperatorID: me}, nil
		}
	} else if json.Unmarshal(value, &by) == nil && by.OperatorID != "" {
		return history.Assignee{Kind: history.AssignedTo, OperatorID: by.OperatorID}, checkText("filter.assignee.operatorId", by.OperatorID, history.MaxMemberID)
	}
	return a, Refuse(BadPayload, "filter.assignee must be me, none, others, any or {operatorId}")
}
