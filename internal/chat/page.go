package chat

import (
	"cmp"
	"context"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// A Page is a part of a room's history.
type Page struct {
	RoomID   string   `json:"roomId"`
	Messages Messages `json:"messages"`
	HasMore  bool     `json:"hasMore"` // there are more in the requested direction
	LastSeq  int64    `json:"lastSeq"` // the room's
	Epoch    string   `json:"epoch"`   // qualifies LastSeq
}

// Messages are stored messages in ascending order.
type Messages []history.Message

// MarshalJSON implements json.Marshaler. It is faster than encoding/json, which would look at each
// member of each message.
func (m Messages) MarshalJSON() ([]byte, error) {
	size := 2
	for i := range m {
		size += m[i].Size()
	}
	dst := append(make([]byte, 0, size), '[')
	for i := range m {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m[i].AppendJSON(dst)
	}
	return append(dst, ']'), nil
}

// A HistoryRequest asks for a page: the newest messages, the last messages before a number, or the
// first messages after one.
type HistoryRequest struct {
	RoomID string
	Before *int64
	After  *int64
	Limit  int
}

// History returns a page of a room that the client is in.
func (c *Client) History(ctx context.Context, q HistoryRequest) (Page, error) {
	if _, err := c.member(q.RoomID); err != nil {
		return Page{}, err
	}
	s := c.service
	wanted, err := s.page(&q)
	if err != nil {
		return Page{}, err
	}
	if err := s.afford(ctx, budget.Pages, &c.pages, 1); err != nil {
		return Page{}, err
	}
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return Page{}, err
	}
	defer cancel()
	slice, err := s.log.History(reading, q.RoomID, wanted)
	if err != nil {
		return Page{}, s.storeError(ctx, "read page", err)
	}
	s.charge(&c.reader, slice.Messages)
	more := slice.MoreBefore
	if q.After != nil {
		more = slice.MoreAfter
	}
	return Page{q.RoomID, slice.Messages, more, slice.Head, s.store.Epoch()}, nil
}

func (s *Service) page(q *HistoryRequest) (history.Page, error) {
	limit, err := s.limit(q.Limit)
	if err != nil {
		return history.Page{}, err
	}
	o := history.Page{Limit: limit}
	switch {
	case q.Before != nil && q.After != nil:
		return o, Refuse(BadPayload, "before and after exclude each other")
	case q.Before != nil && *q.Before < 1:
		return o, Refuse(BadPayload, "before must be at least 1")
	case q.After != nil && *q.After < 0:
		return o, Refuse(BadPayload, "after cannot be negative")
	case q.Before != nil:
		o.Before = *q.Before
	case q.After != nil && *q.After == 0:
		o.After = -1 // from the very first
	case q.After != nil:
		o.After = *q.After
	}
	return o, nil
}

// limit returns the limit of a page for which a client asks for a number of messages.
func (s *Service) limit(asked int) (history.Limit, error) {
	if asked < 0 {
		return history.Limit{}, Refuse(BadPayload, "limit cannot be negative")
	}
	return history.Limit{Messages: min(cmp.Or(asked, s.opts.PageSize), s.opts.MaxPage), Bytes: s.opts.PageBytes}, nil
}
