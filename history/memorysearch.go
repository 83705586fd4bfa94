package history

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
)

// Search implements [Searcher]. It looks at every message of the rooms.
func (s *Memory) Search(ctx context.Context, q SearchQuery) (found Found, err error) {
	if q, err = q.Prepare(); err != nil {
		return Found{}, err
	}
	var after struct{ at, number, seq int64 } // where the page before has ended
	if q.Cursor != "" {
		for i, part := range strings.Split(q.Cursor, ".") {
			if i > 2 {
				return Found{}, ErrBadPage.because("cursor")
			}
			if *[]*int64{&after.at, &after.number, &after.seq}[i], err = strconv.ParseInt(part, 36, 64); err != nil {
				return Found{}, ErrBadPage.because("cursor")
			}
		}
	}
	type hit struct {
		Hit
		number int64 // of its room
	}
	order := func(a, b *hit) int {
		return cmp.Or(b.Message.Timestamp.Compare(a.Message.Timestamp.Time), cmp.Compare(a.number, b.number), cmp.Compare(b.Message.Seq, a.Message.Seq))
	}
	last := &hit{number: after.number}
	last.Message.Timestamp, last.Message.Seq = TimeMilli(after.at), after.seq
	var hits []*hit
	err = s.look(ctx, func() error {
		for _, r := range s.rooms {
			if !s.searchesLocked(&q, r) {
				continue
			}
			for i := range r.messages {
				if h, ok := q.Match(&r.messages[i]); ok {
					if h := (&hit{h, r.number}); q.Cursor == "" || order(last, h) < 0 {
						hits = append(hits, h)
					}
				}
			}
		}
		return nil
	})
	slices.SortFunc(hits, order)
	found = Found{Hits: []Hit{}, Complete: true}
	for i, h := range hits {
		if i == q.Limit {
			last := hits[i-1]
			found.Next = strings.Join([]string{strconv.FormatInt(last.Message.Timestamp.UnixMilli(), 36),
				strconv.FormatInt(last.number, 36), strconv.FormatInt(last.Message.Seq, 36)}, ".")
			break
		}
		found.Hits = append(found.Hits, h.Hit)
	}
	return found, err
}

// searchesLocked reports whether a query looks in a room.
func (s *Memory) searchesLocked(q *SearchQuery, r *memoryRoom) bool {
	of, notes := NotesOf(r.name)
	if !notes {
		of = r.name
	}
	if notes && !q.Notes || strings.HasPrefix(of, "~") || q.Rooms != nil && !slices.Contains(q.Rooms, of) {
		return false
	}
	owner := s.rooms[of]
	return q.UserID == "" || owner != nil && owner.conversation != nil && owner.conversation.UserID == q.UserID
}
