package history

import (
	"context"
	"time"
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
	UserID       string // only messages in conversations of this user
	OperatorID   string // only messages that this operator wrote
	Since, Until time.Time
	Notes        bool // also in notes of the rooms
	Limit        int  // if zero, DefaultLimit; at most MaxLimit
	Cursor       string
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
