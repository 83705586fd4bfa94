package history

import (
	"context"
	"slices"
	"strconv"
)

// memoryErased is what Memory must know of what was erased.
type memoryErased struct {
	heads map[string]int64 // of rooms
	users int              // how many have left tombstones
}

// EraseUser implements [Eraser]. It looks at every message.
func (s *Memory) EraseUser(ctx context.Context, userID string) (e Erased, err error) {
	err = s.write(ctx, "erase a user", func(now int64) error {
		f := s.findLocked(userID)
		for _, r := range f.rooms {
			s.eraseLocked(r, &e)
		}
		if len(f.elsewhere) > 0 {
			s.erased.users++
		}
		nobody := "erased-" + strconv.Itoa(s.erased.users)
		for _, m := range f.elsewhere {
			r := s.rooms[m.RoomID]
			delete(r.clients, memoryKey{m.Author(), m.ClientID})
			m := r.message(m.Seq)
			m.UserID, m.ClientID = nobody, ""
			e.Changed = append(e.Changed, r.edit(m.Seq, nil, now))
			s.changedLocked(r)
			s.logLocked(MessageChanged, r.name, r.head, m.Seq)
		}
		for _, r := range s.rooms {
			for _, id := range f.ids {
				delete(r.marks, Member{UserID: id})
			}
		}
		for _, id := range f.ids {
			delete(s.people, id)
			delete(s.visitors, id)
		}
		return nil
	})
	return e, err
}

// EraseRoom implements [Eraser].
func (s *Memory) EraseRoom(ctx context.Context, room string) (e Erased, err error) {
	if err := CheckRoom(room); err != nil {
		return e, err
	}
	err = s.write(ctx, "erase a room", func(int64) error {
		if r := s.rooms[room]; r != nil {
			s.eraseLocked(r, &e)
		}
		return nil
	})
	return e, err
}

// eraseLocked deletes a room with its notes.
func (s *Memory) eraseLocked(room *memoryRoom, e *Erased) {
	for _, r := range []*memoryRoom{s.rooms[NotesRoom(room.name)], room} {
		if r == nil {
			continue
		}
		e.Messages += len(r.messages)
		if s.erased.heads == nil {
			s.erased.heads = make(map[string]int64)
		}
		s.erased.heads[r.name] = r.head
		delete(s.rooms, r.name)
		s.logLocked(RoomErased, "", r.head, r.head)
		for i := range s.changelog.changes {
			if c := &s.changelog.changes[i]; c.RoomID == r.name {
				c.RoomID = ""
			}
		}
	}
	e.Rooms = append(e.Rooms, room.name)
	if room.conversation != nil {
		s.changed = slices.DeleteFunc(s.changed, func(c memoryChange) bool { return c.room == room })
		s.change++ // whoever has seen all changes must load the list anew, too
		s.changeFloor = s.change
	}
}

// Erasing implements [Eraser].
func (s *Memory) Erasing(ctx context.Context, userID, room string) (e Erased, err error) {
	if room != "" {
		if err := CheckRoom(room); err != nil {
			return e, err
		}
	}
	err = s.look(ctx, func() error {
		f := s.findLocked(userID)
		if r := s.rooms[room]; r != nil && !slices.Contains(f.rooms, r) {
			f.rooms = append(f.rooms, r)
		}
		for _, r := range f.rooms {
			e.Rooms = append(e.Rooms, r.name)
			e.Messages += len(r.messages)
			if notes := s.rooms[NotesRoom(r.name)]; notes != nil {
				e.Messages += len(notes.messages)
			}
		}
		e.Changed = f.elsewhere
		return nil
	})
	return e, err
}

// memoryFound is what there is of a user.
type memoryFound struct {
	ids       []string // of the user and of the visitors that it was
	rooms     []*memoryRoom
	elsewhere []Message // in other rooms
}

func (s *Memory) findLocked(userID string) (f memoryFound) {
	if userID == "" {
		return f
	}
	f.ids = append([]string{userID}, s.visitors[userID]...)
	own := make(map[string]bool)
	for _, id := range f.ids {
		for _, r := range s.conversationsLocked(id) {
			f.rooms = append(f.rooms, r)
			own[r.name], own[NotesRoom(r.name)] = true, true
		}
	}
	for _, r := range s.rooms {
		if own[r.name] {
			continue
		}
		for i := range r.messages {
			if slices.Contains(f.ids, r.messages[i].UserID) {
				f.elsewhere = append(f.elsewhere, r.messages[i])
			}
		}
	}
	slices.SortFunc(f.elsewhere, func(a, b Message) int {
		return int(s.rooms[a.RoomID].number<<32 + a.Seq - s.rooms[b.RoomID].number<<32 - b.Seq)
	})
	return f
}
