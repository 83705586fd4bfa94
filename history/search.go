package history

import (
	"context"
	"time"

	"github.com/parley-go/parley/internal/words"
)

// Searcher is the capability of a store to find messages by their words.
type Searcher interface {
	// Search finds messages that contain all words of the query, the newest first. Words are compared
	// without case and diacritics; the last one may be the beginning of a word. Text is what stands
	// in the strings of a message, without the names of members. Deleted messages are not found.
	Search(ctx context.Context, q SearchQuery) (Found, error)
}

// SearchQuery selects messages.
type SearchQuery struct {
	Text string // at most 200 bytes; without a word the error is ErrBadPage
	// Rooms, if not nil, are the rooms to look in; one room needs no index. With nil, the store looks
	// in all rooms; if it has no index, the error is ErrNotReady.
	Rooms        []string
	UserID       string    // only messages in conversations of this user
	OperatorID   string    // only messages that this operator wrote
	Since, Until time.Time // from Since on, before Until; zero: any
	Notes        bool      // also in notes of the rooms
	Limit        int       // if zero, DefaultLimit; at most MaxLimit
	// Cursor is Found.Next of the same query. A page may have fewer hits than Limit, or none, and
	// still be followed by others: the store looks at a bounded number of messages for a page.
	Cursor string

	words words.Query
}

// MaxSearch is the maximum size of a query's text, in bytes.
const MaxSearch = 200

// Prepare checks the query and returns it with its limit filled in. Stores call it.
func (q SearchQuery) Prepare() (SearchQuery, error) {
	if len(q.Text) > MaxSearch {
		return q, ErrBadPage.because("the text is too long")
	}
	if q.words = words.Split(q.Text); len(q.words) == 0 {
		return q, ErrBadPage.because("the text has no word")
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	return q, nil
}

// Words returns the words of a prepared query, without case and diacritics. A word has only letters,
// digits and marks.
func (q *SearchQuery) Words() []string { return q.words }

// TooOld reports whether m is from before the time in which a prepared query looks.
func (q *SearchQuery) TooOld(m *Message) bool {
	return !q.Since.IsZero() && m.Timestamp.Before(q.Since)
}

// Match reports whether a prepared query finds m if it is in a room to look in.
func (q *SearchQuery) Match(m *Message) (Hit, bool) {
	if m.Deleted || q.OperatorID != "" && m.OperatorID != q.OperatorID ||
		q.TooOld(m) || !q.Until.IsZero() && !m.Timestamp.Before(q.Until) {
		return Hit{}, false
	}
	line := words.Text(m.Message)
	spans, ok := q.words.Find(line)
	if !ok {
		return Hit{}, false
	}
	h := Hit{Message: *m}
	h.Excerpt, h.Marks = words.Excerpt(line, spans)
	return h, true
}

// Found is a page of results.
type Found struct {
	Hits     []Hit
	Next     string // the cursor of the next page; empty if this is the last one
	Complete bool   // false: the index is still being built, so there may be others
}

// A Hit is a message that was found.
type Hit struct {
	Message Message
	Excerpt string   // text around the first match, one line, at most 140 characters
	Marks   [][2]int // where the matches are in Excerpt, in UTF-16 code units
}
