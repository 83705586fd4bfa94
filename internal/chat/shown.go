package chat

import (
	"cmp"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// show returns a conversation as a client with this access sees it.
func (s *Service) show(r *history.Room, a *access) conversation.Room {
	row := conversation.Room{
		RoomID: r.RoomID, Status: r.Status, UserID: r.UserID, OperatorID: r.OperatorID, Subject: r.Subject, Labels: []string{},
		LastSeq: r.Head, LastAt: r.LastAt, CreatedAt: r.CreatedAt, ClosedAt: present(r.ClosedAt), WaitingSince: present(r.WaitingSince),
		OperatorsReadSeq: r.OperatorsReadSeq, UserReadSeq: r.UserReadSeq, Unread: &r.Unread, ReadSeq: &r.ReadSeq,
	}
	if r.OperatorID != "" {
		row.Operator = s.operatorShown(r.OperatorID)
	}
	if a.operates {
		row.Attributes, row.Change = r.Attributes, r.Change
		row.Labels = append(row.Labels, r.Labels...)
	}
	return row
}

func (s *Service) operatorShown(id string) *conversation.OperatorShown {
	name := ""
	if s.opts.OperatorName != nil {
		name = s.opts.OperatorName(id)
	}
	return &conversation.OperatorShown{Name: cmp.Or(name, id), Online: s.operatorIsThere(id)}
}

// present returns nil for the zero time.
func present(t history.Time) *history.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
