package reading

import (
	"cmp"
	"slices"

	"github.com/parley-go/parley/history"
)

// Part is a part of a page: messages in the order of their numbers, as many as the limit allows.
type Part struct {
	Messages []history.Message
	Left     int64 // the number of the first message that does not fit; 0: there is none
}

// Changes fills in the outcome of [history.Store].Changes, of which Head and Floor are known: from the messages after
// since that never changed, and from those that have changed after it.
func Changes(s *history.Slice, since int64, l history.Limit, unchanged, changed Part) {
	s.Messages = append(append(s.Messages, unchanged.Messages...), changed.Messages...)
	slices.SortFunc(s.Messages, func(a, b history.Message) int { return cmp.Compare(a.Number(), b.Number()) })
	missing := func(m *history.Message) bool { // one of the parts lacks what comes before m
		return unchanged.Left > 0 && unchanged.Left < m.Number() || changed.Left > 0 && changed.Left < m.Number()
	}
	n := 0
	for n < len(s.Messages) && !missing(&s.Messages[n]) && l.Take(&s.Messages[n]) {
		n++
	}
	s.UpTo = s.Head
	if n < len(s.Messages) || unchanged.Left > 0 || changed.Left > 0 {
		s.UpTo = s.Messages[n-1].Number() // at least one message fits
	}
	s.Messages = s.Messages[:n]
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
