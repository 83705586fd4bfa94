package reading

import (
	"cmp"
	"slices"

	"github.com/parley-go/parley/history"
)

// Part is a part of a page: messages in the order of their numbers, as many as the limit allows.
type Part struct {
	Messages []history.Message
	More     bool
}

// Changes fills in the outcome of [history.Store].Changes, of which Head and Floor are known: from the messages after
// since that never changed, and from those that have changed after it.
func Changes(s *history.Slice, since int64, l history.Limit, unchanged, changed Part) {
	s.UpTo = s.Head
	for _, part := range []Part{unchanged, changed} {
		if part.More {
			s.UpTo = min(s.UpTo, part.Messages[len(part.Messages)-1].Number())
		}
	}
	s.Messages = append(append(s.Messages, unchanged.Messages...), changed.Messages...)
	slices.SortFunc(s.Messages, func(a, b history.Message) int { return cmp.Compare(a.Number(), b.Number()) })
	for i := range s.Messages {
		if m := &s.Messages[i]; m.Number() > s.UpTo || !l.Take(m) {
			s.Messages = s.Messages[:i]
			s.UpTo = s.Messages[i-1].Number() // of both parts together, at least one message fits
			break
		}
	}
	s.MoreBefore = since > s.Floor
	s.MoreAfter = s.UpTo < s.Head
}

// Missing returns why a room has no message with a seq.
func Missing(seq, floor int64) error {
	if seq > 0 && seq <= floor {
		return history.ErrPruned
	}
	return history.ErrNotFound
}
