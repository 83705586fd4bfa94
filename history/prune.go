package history

import (
	"context"
	"time"
)

// Pruner is the capability of a store to forget old messages.
type Pruner interface {
	// Prune deletes a bounded number of messages that a rule selects, and raises the floor of their
	// rooms in the same commit. More says that there may be others: call it again, after a pause in
	// which others can write.
	Prune(ctx context.Context, r PruneRule) (p Pruned, err error)
}

// PruneRule selects messages. A message goes if one of the limits selects it.
type PruneRule struct {
	Room   string    // "" is all rooms; the notes of a room go with it
	Before time.Time // messages that are older; zero: none
	Keep   int       // how many of the newest messages of a room stay; 0: all
	Closed bool      // only conversations that are closed, and rooms that belong to nobody
}

// Pruned is the outcome of a step.
type Pruned struct {
	Messages int
	Rooms    []string // whose floor has risen
	More     bool
}

// Eraser is the capability of a store to erase everything about a user or a room, so that no byte of
// it is left in any file of the store. A store on a database server, whose files it does not control,
// leaves nothing in any table; its documentation says what the server keeps.
type Eraser interface {
	// EraseUser deletes the conversations of a user with their notes, and the person. In other rooms
	// the user's messages become tombstones without an author's name. All ids that the user had as a
	// visitor are erased as well; see People.
	EraseUser(ctx context.Context, userID string) (Erased, error)
	// EraseRoom deletes a room with its notes. If it does not exist, nothing is erased.
	EraseRoom(ctx context.Context, room string) (Erased, error)
	// Erasing tells what would be erased, and erases nothing.
	Erasing(ctx context.Context, userID, room string) (Erased, error)
}

// Erased says what was erased.
type Erased struct {
	Rooms    []string  // deleted
	Messages int       // in these rooms
	Changed  []Message // tombstones in other rooms
}
