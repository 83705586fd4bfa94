package history

import "context"

// A Store keeps rooms and their messages. Rooms come into being with their first
// message. Implementations are safe for concurrent use, and pass historytest.Run.
//
// What a store promises: if a message is visible, every one of its room with a smaller
// number is; the timestamps of a room never decrease, whatever the clock does; a
// message that was returned by Append is visible to every call that starts later.
type Store interface {
	// Append stores the drafts in one commit, wholly or not at all, and returns their
	// outcomes in the same order. Drafts of one room get ascending numbers in this
	// order. A draft that cannot be stored has its own Err and does not affect the
	// others. A draft whose room, author and client id are known is not stored again:
	// the original is returned as Dup, or ErrKeyReuse if its message is another.
	//
	// An error means that nothing was stored, unless it is ErrUnknownOutcome.
	// The drafts' messages may be kept by the store if they are prepared.
	Append(ctx context.Context, drafts []Draft) ([]Appended, error)

	// History returns a page of a room's messages. A room without messages is empty.
	History(ctx context.Context, room string, p Page) (Slice, error)

	// Changes returns messages whose last change has a number larger than since, by
	// that number, at most limit (see ClampLimit). UpTo says how far the answer is
	// complete. If since lies before the room's floor the error is ErrPruned, and the
	// slice has Head and Floor only.
	Changes(ctx context.Context, room string, since int64, limit int) (Slice, error)

	// Heads returns the newest numbers of rooms in one query. Rooms without messages
	// are left out.
	Heads(ctx context.Context, rooms []string) (map[string]int64, error)

	// Epoch names the numbering: it changes when numbers may have been given twice,
	// such as after restoring a backup. Positions of another epoch are worthless.
	Epoch() string

	// Close waits for what is under way and releases the store. Calls that come later
	// fail with ErrClosed.
	Close() error
}
