package history

import "context"

// Changelog is the capability of a store to tell every change of every room in the order of commits.
// It is written only while somebody follows it.
type Changelog interface {
	// FollowChanges makes name a follower. Its position begins at the newest change, and is kept
	// until Unfollow, also by a store that is closed and opened again.
	FollowChanges(ctx context.Context, name string) (position int64, err error)
	// ReadChanges returns changes after a position, in order. Changes that all followers have passed
	// may be gone.
	ReadChanges(ctx context.Context, after int64, limit int) ([]Change, error)
	// PassChanges says that a follower has everything up to a position.
	PassChanges(ctx context.Context, name string, position int64) error
	// Unfollow removes a follower.
	Unfollow(ctx context.Context, name string) error
}

// A Change is one entry of a changelog.
type Change struct {
	Position int64
	Kind     ChangeKind
	RoomID   string // "" if the room was erased since
	Number   int64  // of a message: the number of its change; of a room: Room.Change
	Seq      int64  // of a message
}

// ChangeKind says what has changed.
type ChangeKind int

// The kinds of changes.
const (
	MessageAdded ChangeKind = iota + 1
	MessageChanged
	RoomChanged
	RoomErased
	// MessagesPruned says that the messages up to Number are gone.
	MessagesPruned
)
