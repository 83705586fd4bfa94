package chat

import (
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
	dst := append(make([]byte, 0, size(m)+2), '[')
	for i := range m {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m[i].AppendJSON(dst)
	}
	return append(dst, ']'), nil
}

// size returns the approximate size of messages in JSON.
func size(messages []history.Message) (n int) {
	const others = 200 // bytes of names, numbers and quotes
	for i := range messages {
		m := &messages[i]
		n += others + len(m.Message) + len(m.RoomID) + len(m.UserID) + len(m.OperatorID) + len(m.ClientID)
	}
	return n
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
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	slice, err := s.log.History(bounded, q.RoomID, wanted)
	if err != nil {
		return Page{}, s.storeError(ctx, "read page", err)
	}
	more := slice.MoreBefore
	if q.After != nil {
		more = slice.MoreAfter
	}
	messages, cut := s.fit(slice.Messages, q.After != nil)
	return Page{q.RoomID, messages, more || cut, slice.Head, s.store.Epoch()}, nil
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

// limit returns the maximum number of messages of a page.
func (s *Service) limit(asked int) (int, error) {
	switch {
	case asked < 0:
		return 0, Refuse(BadPayload, "limit cannot be negative")
	case asked == 0:
		return s.opts.PageSize, nil
	}
	return min(asked, s.opts.MaxPage), nil
}

// fit returns as many of the first or the last messages as may be sent at once.
func (s *Service) fit(messages []history.Message, first bool) (fitting []history.Message, cut bool) {
	n, bytes := 0, 0
	for n < len(messages) {
		i := n
		if !first {
			i = len(messages) - 1 - n
		}
		if bytes += size(messages[i : i+1]); n > 0 && bytes > s.opts.PageBytes {
			break
		}
		n++
	}
	if first {
		return messages[:n], n < len(messages)
	}
	return messages[len(messages)-n:], n < len(messages)
}
