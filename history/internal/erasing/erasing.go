// Package erasing is in which steps both databases erase users and rooms. A step is a commit of some hundred
// messages, so that others can write in between. The person goes last: an erasure that was interrupted can be
// repeated.
package erasing

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strconv"

	"github.com/parley-go/parley/history"
)

const (
	Rows = 1000   // messages that one commit erases at most
	Scan = 20_000 // messages that are looked at in one read, to find those of a user
)

// RoomKey returns the key of a room among those that were erased, which does not tell its name.
func RoomKey(secret []byte, room string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(room))
	return h.Sum(nil)[:16]
}

// Found is what there is of a user. Key is the key of a message.
type Found[Key any] struct {
	IDs       []string // of the user and of the visitors that it was
	Rooms     []string // the user's conversations
	Elsewhere []Key    // the user's messages in other rooms
}

// Database is what an erasure needs of a database.
type Database[Key any] struct {
	// Find finds what there is of a user at the moment of the call.
	Find func(ctx context.Context, userID string) (Found[Key], error)
	// Count returns how many messages a room and its notes have, and whether it exists.
	Count func(ctx context.Context, room string) (messages int, exists bool, err error)
	// Message returns the messages that a key names: one, or none if it is gone.
	Message func(context.Context, Key) ([]history.Message, error)
	// Nobody returns how many users have left tombstones, this one included.
	Nobody func(context.Context) (int64, error)
	// Messages turns those of some messages that are still written by users into tombstones of nobody.
	Messages func(ctx context.Context, keys []Key, users []string, nobody string) ([]history.Message, error)
	// Part deletes the first Rows messages of a room or, if it has no others, the room: then it is done.
	Part func(ctx context.Context, room string) (deleted int, existed, done bool, err error)
	// Person deletes people and their read marks.
	Person func(ctx context.Context, ids []string) error
	// Clean removes what the others have left in files and in the index of words.
	Clean func(context.Context) error
}

// User erases a user; see [history.Eraser]. After an error, a part of it may have been.
func (d Database[Key]) User(ctx context.Context, userID string) (e history.Erased, err error) {
	f, err := d.Find(ctx, userID)
	if err != nil {
		return e, err
	}
	if len(f.Elsewhere) > 0 {
		users, err := d.Nobody(ctx)
		if err != nil {
			return e, err
		}
		for keys := range slices.Chunk(f.Elsewhere, Rows) {
			changed, err := d.Messages(ctx, keys, f.IDs, "erased-"+strconv.FormatInt(users, 10))
			if err != nil {
				return e, err
			}
			e.Changed = append(e.Changed, changed...)
		}
	}
	for _, room := range f.Rooms {
		if err := d.room(ctx, room, &e); err != nil {
			return e, err
		}
	}
	if err := d.Person(ctx, f.IDs); err != nil {
		return e, err
	}
	return e, d.Clean(ctx)
}

// Room erases a room with its notes; see [history.Eraser]. After an error, a part of it may have been.
func (d Database[Key]) Room(ctx context.Context, room string) (e history.Erased, err error) {
	if err := history.CheckRoom(room); err != nil {
		return e, err
	}
	if err := d.room(ctx, room, &e); err != nil {
		return e, err
	}
	return e, d.Clean(ctx)
}

func (d Database[Key]) room(ctx context.Context, room string, e *history.Erased) error {
	for _, name := range []string{history.NotesRoom(room), room} {
		for done := false; !done; {
			var deleted int
			var existed bool
			var err error
			if deleted, existed, done, err = d.Part(ctx, name); err != nil {
				return err
			}
			e.Messages += deleted
			if done && existed && name == room {
				e.Rooms = append(e.Rooms, room)
			}
		}
	}
	return nil
}

// Preview returns what would be erased; see [history.Eraser].Erasing.
func (d Database[Key]) Preview(ctx context.Context, userID, room string) (e history.Erased, err error) {
	var f Found[Key]
	if room != "" {
		if err := history.CheckRoom(room); err != nil {
			return e, err
		}
	}
	if userID != "" {
		if f, err = d.Find(ctx, userID); err != nil {
			return e, err
		}
	}
	if room != "" && !slices.Contains(f.Rooms, room) {
		f.Rooms = append(f.Rooms, room)
	}
	for _, name := range f.Rooms {
		messages, exists, err := d.Count(ctx, name)
		if err != nil {
			return e, err
		}
		e.Messages += messages
		if exists {
			e.Rooms = append(e.Rooms, name)
		}
	}
	for _, key := range f.Elsewhere {
		messages, err := d.Message(ctx, key)
		if err != nil {
			return e, err
		}
		e.Changed = append(e.Changed, messages...)
	}
	return e, nil
}
