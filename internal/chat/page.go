package chat

import (
	"cmp"
	"context"
	"errors"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// Pages of a room's history.
type (
	Page           = conversation.Page
	HistoryRequest = conversation.HistoryRequest
)

// History returns a page of a room that the client is in, or of its notes.
func (c *Client) History(ctx context.Context, q HistoryRequest) (Page, error) {
	m, err := c.member(q.RoomID)
	if err != nil {
		return Page{}, err
	}
	s, log := c.service, q.RoomID
	if q.Notes {
		if err := m.access.Load().operator(); err != nil {
			return Page{}, err
		}
		log = history.NotesRoom(q.RoomID)
	}
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
	var slice history.Slice
	if q.After != nil {
		slice, err = s.changesAfter(reading, log, *q.After, wanted.Limit)
	} else {
		slice, err = s.log.History(reading, log, wanted)
	}
	if err != nil {
		return Page{}, s.storeError(ctx, "read page", err)
	}
	s.charge(&c.reader, slice.Messages)
	if q.Notes {
		named(slice.Messages, q.RoomID)
	}
	page := Page{
		RoomID: q.RoomID, Messages: slice.Messages, LastSeq: slice.Head, Epoch: s.store.Epoch(),
		HasMore: slice.MoreBefore, HasBefore: slice.MoreBefore, HasAfter: slice.MoreAfter,
		OperatorNames: s.staff.namesIn(slice.Messages),
	}
	if q.After != nil {
		page.HasMore = slice.MoreAfter
	}
	return page, nil
}

// named gives notes the id of their conversation, because clients know no other one.
func named(notes []history.Message, room string) {
	for i := range notes {
		notes[i].RoomID = room
	}
}

func (s *Service) page(q *HistoryRequest) (history.Page, error) {
	limit, err := s.limit(q.Limit)
	if err != nil {
		return history.Page{}, err
	}
	o := history.Page{Limit: limit}
	switch {
	case q.Before != nil && q.After != nil, q.Around != nil && (q.Before != nil || q.After != nil):
		return o, Refuse(BadPayload, "before, after and around exclude each other")
	case q.Around != nil && *q.Around < 1:
		return o, Refuse(BadPayload, "around must be at least 1")
	case q.Around != nil:
		o.Around = *q.Around
	case q.Before != nil && *q.Before < 1:
		return o, Refuse(BadPayload, "before must be at least 1")
	case q.After != nil && *q.After < 0:
		return o, Refuse(BadPayload, "after cannot be negative")
	case q.Before != nil:
		o.Before = *q.Before
	}
	return o, nil
}

// changesAfter returns the first messages that have changed after a number. 0 is the beginning, also
// of a room whose oldest messages are gone.
func (s *Service) changesAfter(ctx context.Context, log string, after int64, l history.Limit) (history.Slice, error) {
	slice, err := s.log.Changes(ctx, log, after, l)
	if after == 0 && errors.Is(err, history.ErrPruned) {
		slice, err = s.log.Changes(ctx, log, slice.Floor, l)
	}
	return slice, err
}

// limit returns the limit of a page for which a client asks for a number of messages.
func (s *Service) limit(asked int) (history.Limit, error) {
	if asked < 0 {
		return history.Limit{}, Refuse(BadPayload, "limit cannot be negative")
	}
	return history.Limit{Messages: min(cmp.Or(asked, s.opts.PageSize), s.opts.MaxPage), Bytes: s.opts.PageBytes}, nil
}
