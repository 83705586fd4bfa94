package history

import "context"

// A Store stores rooms and their messages. A room exists from its first message on. Implementations
// are safe for concurrent use and pass historytest.Run.
//
// A store guarantees the following. If a message is visible, every message of its room with a
// smaller number is visible too. The timestamps of a room never decrease, whatever the clock does.
// A message that Append has returned is visible to every call that starts later.
//
// A store that notices that it cannot be used logs that itself, once, and its reads then fail with
// ErrUnavailable. A Log does not log this error again.
type Store interface {
	// Append stores the drafts in one commit, entirely or not at all, and returns their outcomes in
	// the same order. Drafts of one room get ascending numbers in this order. A draft that cannot
	// be stored has its own Err and does not affect the others. A draft whose room, author and
	// client id are known is not stored again: its outcome is the original with Dup set, or
	// ErrKeyReuse if the message is different.
	//
	// An error means that nothing was stored, unless it is ErrUnknownOutcome. The store may keep
	// the messages of prepared drafts.
	Append(ctx context.Context, drafts []Draft) ([]Appended, error)

	// History returns a page of a room's messages. If the room has none, the page is empty.
	History(ctx context.Context, room string, p Page) (Slice, error)

	// Changes returns the first messages whose last change has a number larger than since, ordered
	// by that number. UpTo says how far the result is complete. If since is before the room's floor,
	// the error is ErrPruned, and the slice has only Head and Floor.
	Changes(ctx context.Context, room string, since int64, l Limit) (Slice, error)

	// Heads returns the newest numbers of rooms in one query. It omits rooms without messages.
	Heads(ctx context.Context, rooms []string) (map[string]int64, error)

	// Epoch identifies the numbering. It changes when numbers may have been given twice, for
	// example after a backup was restored. Positions from another epoch are useless.
	Epoch() string

	// Close waits for running calls and releases the store. Later calls fail with ErrClosed.
	Close() error
}
