package chat

import (
	"context"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// Search finds messages in the rooms that the client may read: users in their own conversations,
// operators in all, and everybody in the room that the request names.
func (c *Client) Search(ctx context.Context, q conversation.SearchRequest) (found conversation.Found, err error) {
	s := c.service
	if err := checkTexts([]text{{"query", q.Query, history.MaxSearch}, {"userId", q.UserID, history.MaxMemberID}, {"operatorId", q.OperatorID, history.MaxMemberID}}); err != nil {
		return found, err
	}
	if q.Limit < 0 {
		return found, Refuse(BadPayload, "limit cannot be negative")
	}
	if q.RoomID != "" {
		if err := c.searchIn(ctx, &q); err != nil {
			return found, err
		}
	}
	if s.can.search == nil {
		return found, errLacking
	}
	if err := c.spend(searchesOf); err != nil {
		return found, err
	}
	reading, cancel, err := s.reading(ctx, &c.reader)
	if err != nil {
		return found, err
	}
	defer cancel()
	wanted := history.SearchQuery{
		Text: q.Query, UserID: q.UserID, OperatorID: q.OperatorID, Notes: q.Notes, Limit: q.Limit, Cursor: q.Cursor,
		Since: instant(q.Since), Until: instant(q.Until),
	}
	allowed := func(string) (bool, error) { return true, nil }
	if q.RoomID != "" {
		wanted.Rooms = []string{q.RoomID}
	} else if wanted.Rooms, allowed, err = c.searchable(reading, &q); err != nil {
		return found, err
	}
	hits, err := s.can.search.Search(reading, wanted)
	if err != nil {
		return found, s.storeError(ctx, "search", err)
	}
	found = conversation.Found{Hits: []conversation.Hit{}, Next: hits.Next, Complete: hits.Complete}
	for i := range hits.Hits {
		h := &hits.Hits[i]
		room, note := history.NotesOf(h.Message.RoomID)
		if ok, err := allowed(room); err != nil {
			return found, err
		} else if !ok || note && !q.Notes {
			continue
		}
		hit := conversation.Hit{
			RoomID: room, Seq: h.Message.Seq, Timestamp: h.Message.Timestamp, By: byUser, Note: note, Excerpt: h.Excerpt, Marks: h.Marks,
		}
		if h.Message.OperatorID != "" {
			hit.By = byOperator
		}
		if hit.Marks == nil {
			hit.Marks = [][2]int{}
		}
		found.Hits = append(found.Hits, hit)
	}
	return found, nil
}

func instant(t *history.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// searchIn refuses a search in a room that the client may not make.
func (c *Client) searchIn(ctx context.Context, q *conversation.SearchRequest) error {
	st, err := c.in(ctx, q.RoomID)
	if err != nil {
		return err
	}
	if q.Notes {
		if err := st.operator(); err != nil {
			return err
		}
	}
	return st.may(string(conversation.Search))
}

// searchable returns the rooms in which the client may search, or nil for all those that allowed
// allows.
func (c *Client) searchable(ctx context.Context, q *conversation.SearchRequest) (rooms []string, allowed func(room string) (bool, error), err error) {
	s, who := c.service, c.who.Load()
	all := func(string) (bool, error) { return true, nil }
	switch {
	case who == nil:
		return nil, nil, Refuse(Forbidden, "name a room, or say who you are")
	case operates(who):
		known := map[string]bool{}
		return nil, func(room string) (bool, error) {
			may, ok := known[room]
			if !ok {
				a, _, err := s.access(ctx, principalOf(who), who, room)
				if err != nil {
					return false, err
				}
				may = a.rights.Has(auth.Read)
				known[room] = may
			}
			return may, nil
		}, nil
	case q.Notes:
		return nil, nil, Refuse(Forbidden, "only operators see notes")
	case q.UserID != "" && q.UserID != who.Subject:
		return nil, nil, Refuse(Forbidden, "users search in their own conversations")
	case s.can.rooms == nil:
		return nil, nil, errLacking
	}
	own, err := s.can.rooms.ListRooms(ctx, history.RoomQuery{UserID: who.Subject, Limit: history.MaxLimit, By: member(who)})
	if err != nil {
		return nil, nil, s.storeError(ctx, "list conversations", err)
	}
	rooms = []string{}
	for i := range own.Rooms {
		if s.rights(who, own.Rooms[i].RoomID, own.Rooms[i].UserID, true).Has(auth.Read) {
			rooms = append(rooms, own.Rooms[i].RoomID)
		}
	}
	return rooms, all, nil
}
