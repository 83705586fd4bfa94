package remote

import (
	"context"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// watch joins the lobby, and notes what has changed since the position.
func (f *Follower) watch(ctx context.Context) error {
	f.mu.Lock()
	from, connection := f.lobby, f.connections
	f.mu.Unlock()
	q := conversation.WatchRequest{Filter: &conversation.Filter{Status: "all"}, Limit: 100}
	if from.Epoch != "" {
		q.Epoch, q.After = from.Epoch, &from.After
	}
	watched, err := Ask(ctx, f.s, conversation.WatchRooms, q)
	if err != nil {
		return err
	}
	first := from.Epoch == ""
	if first && !f.o.Since.IsZero() {
		f.setSince(f.o.Since)
	} else if first && len(watched.Rooms) > 0 { // by activity: this is the newest one
		f.setSince(watched.Rooms[0].LastAt.Add(time.Millisecond))
	}
	rooms, next := watched.Rooms, watched.Next
	for {
		done := false
		for i := range rooms {
			if first && rooms[i].LastAt.Before(f.since.Time) {
				done = true // and so are all that follow
				break
			}
			f.row(&rooms[i], !first && watched.Epoch != from.Epoch)
		}
		if done || next == "" || !first && !watched.Reset {
			break
		}
		page, err := Ask(ctx, f.s, conversation.ListRooms, conversation.ListRequest{Filter: q.Filter, Limit: 100, Cursor: next})
		if err != nil {
			return err
		}
		rooms, next = page.Rooms, page.Next
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.connections != connection { // the watch may have ended with the last one
		return nil
	}
	f.lobby = Position{Epoch: watched.Epoch, After: max(watched.Position, f.early)}
	f.watching, f.early = true, 0
	return nil
}

func (f *Follower) setSince(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since = history.Time{Time: t}
}

// changed takes news of a conversation.
func (f *Follower) changed(n conversation.RoomNews) {
	if n.Position == nil { // it comes to the room, and again to the lobby
		return
	}
	f.row(&n.Room, false)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watching {
		f.lobby.After = max(f.lobby.After, *n.Position)
	} else {
		f.early = max(f.early, *n.Position)
	}
}

// row notes how far a conversation is now. Anew says that its numbers may have begun anew.
func (f *Follower) row(row *conversation.Room, anew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.roomLocked(row.RoomID)
	if anew {
		r.seen, r.messages.behind = 0, true
	}
	r.seen = max(r.seen, row.LastSeq)
	if r.behind() {
		f.listLocked(r)
	}
}

// gone forgets a room.
func (f *Follower) gone(room string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rooms[room]
	if r == nil {
		return
	}
	if r.joined {
		f.leftLocked(r)
	}
	if r.listed {
		for i, other := range f.due {
			if other == r {
				f.due = append(f.due[:i:i], f.due[i+1:]...)
				break
			}
		}
	}
	delete(f.rooms, room)
}
