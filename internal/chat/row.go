package chat

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// A viewer decides what a row shows.
type viewer int

const (
	forAsker viewer = iota // an operator: all that there is, with what this operator has read
	forAll                 // all operators at once: without what one of them has read
	forUser                // without labels, attributes, and what is about other conversations
)

// show returns a conversation as a client with this access sees it.
func (s *Service) show(r *history.Room, a *access) conversation.Room {
	if a.operates {
		return s.row(r, forAsker)
	}
	return s.row(r, forUser)
}

// row returns a conversation as v sees it.
func (s *Service) row(r *history.Room, v viewer) conversation.Room {
	row := conversation.Room{
		RoomID: r.RoomID, Status: r.Status, UserID: r.UserID, OperatorID: r.OperatorID,
		Subject: r.Subject, Labels: []string{},
		LastSeq: r.Head, LastAt: r.LastAt, CreatedAt: r.CreatedAt, ClosedAt: present(r.ClosedAt),
		WaitingSince:     present(r.WaitingSince),
		OperatorsReadSeq: r.OperatorsReadSeq, UserReadSeq: r.UserReadSeq,
	}
	if r.UserID != "" {
		row.User = &conversation.User{}
		if p := r.User; p != nil {
			row.User.Name, row.User.Email, row.User.Verified = p.Name, p.Email, p.Verified
		}
	}
	if r.OperatorID != "" {
		name, online := s.staff.shown(r.OperatorID)
		row.Operator = &conversation.OperatorShown{Name: name, Online: online}
	}
	if v != forAll {
		row.Unread, row.ReadSeq = &r.Unread, &r.ReadSeq
	}
	if v == forUser {
		if row.User != nil {
			row.User.Online = true
		}
	} else {
		if len(r.Labels) > 0 {
			row.Labels = r.Labels
		}
		row.Attributes, row.Change = r.Attributes, r.Change
		if row.User != nil {
			row.Page, row.User.Online = s.visitors.shown(r.UserID)
		}
	}
	if r.Last != nil {
		row.LastMessage = s.excerpt(r.Last, row.User)
	}
	return row
}

// present returns nil for the zero time.
func present(t history.Time) *history.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// maxExcerpt is the length of an excerpt, in characters.
const maxExcerpt = 140

// excerpt returns the beginning of a message of a conversation with user.
func (s *Service) excerpt(m *history.Message, user *conversation.User) *conversation.Excerpt {
	text, file := plain(m.Message)
	e := &conversation.Excerpt{Seq: m.Seq, By: byUser, Text: oneLine(text, maxExcerpt), Timestamp: m.Timestamp, File: oneLine(file, maxExcerpt), Deleted: m.Deleted}
	switch {
	case m.OperatorID != "":
		e.By = byOperator
		e.Name, _ = s.staff.shown(m.OperatorID)
	case user != nil:
		e.Name = user.Name
	}
	return e
}

// plain returns the text of a message, and the name of its first file. Messages other than
// conversation.Content have neither.
func plain(message json.RawMessage) (text, file string) {
	message = bytes.TrimLeft(message, " \t\r\n")
	switch {
	case len(message) == 0:
	case message[0] == '"':
		json.Unmarshal(message, &text)
	case message[0] == '{':
		var c struct {
			Text  json.RawMessage
			Files []struct{ Name string }
		}
		json.Unmarshal(message, &c) // as far as it has these members
		json.Unmarshal(c.Text, &text)
		if len(c.Files) > 0 {
			file = c.Files[0].Name
		}
	}
	return text, file
}

// oneLine returns the beginning of a text as one line of at most so many characters.
func oneLine(text string, limit int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range text {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			space = n > 0
			continue
		}
		needed := 1
		if space {
			needed = 2
		}
		if n+needed >= limit {
			b.WriteRune('…')
			break
		}
		if space {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		n, space = n+needed, false
	}
	return b.String()
}
