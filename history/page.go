package history

// A Page selects messages of a room. Set at most one of Before, After and Around. If none is set,
// the page is the newest one.
type Page struct {
	Before int64 // the last messages with a smaller seq
	After  int64 // the first messages with a larger seq; -1: from the very first
	Around int64 // half of the messages before this seq, the rest from it on
	Limit  Limit
}

// Prepare checks the page and returns it with its Limit filled in. Stores call it.
func (p Page) Prepare() (Page, error) {
	set := 0
	for _, n := range [...]int64{p.Before, p.After, p.Around} {
		if n != 0 {
			set++
		}
	}
	if set > 1 || p.Before < 0 || p.After < -1 || p.Around < 0 {
		return p, ErrBadPage
	}
	p.Limit = p.Limit.Prepare()
	return p, nil
}

// A Limit says how much may be read at once. What does not fit is not read: a small limit makes a
// cheap query, however large the messages are.
type Limit struct {
	Messages int // If zero, DefaultLimit; at most MaxLimit.
	// Bytes of all messages together; see Message.Size. One message always fits. If zero,
	// DefaultBytes.
	Bytes int

	taken bool // Take has accepted a message
}

// Prepare returns l with its defaults filled in. Stores call it.
func (l Limit) Prepare() Limit {
	if l.Messages <= 0 {
		l.Messages = DefaultLimit
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	l.Messages = min(l.Messages, MaxLimit)
	return l
}

// Halves returns the limits of a page's two sides: before the message that the page is around, and
// from it on. Each side has room for one message of any size if it may have messages at all.
func (l Limit) Halves() (before, from Limit) {
	before, from = l, l
	before.Messages /= 2
	from.Messages -= before.Messages
	before.Bytes /= 2
	from.Bytes -= before.Bytes
	return before, from
}

// Take reports whether m fits as the next message, and if it does, reduces l by it. Stores call it
// for each message that they read, until it reports false.
func (l *Limit) Take(m *Message) bool {
	size := m.Size()
	if l.Messages <= 0 || l.taken && size > l.Bytes {
		return false
	}
	l.taken = true
	l.Messages--
	l.Bytes -= size
	return true
}

// A Slice is a part of a room's history, with the room's state at the same moment.
type Slice struct {
	// Messages are in ascending order: of seq from History, of the last change from Changes. The
	// slice is never nil.
	Messages []Message `json:"messages"`
	// Head is the room's newest number; 0 if the room has no messages.
	Head int64 `json:"head"`
	// Floor is the largest number that was pruned: messages up to it may be missing.
	Floor int64 `json:"floor,omitempty"`
	// MoreBefore and MoreAfter say that there are more messages before and after.
	MoreBefore bool `json:"moreBefore"`
	MoreAfter  bool `json:"moreAfter"`
	// UpTo is set by Changes: every change up to this number is in the slice or superseded by a
	// later change.
	UpTo int64 `json:"upTo,omitempty"`
}
