package history

import (
	"cmp"
	"context"
	"slices"
	"sort"
)

// Room implements [Rooms].
func (s *Memory) Room(ctx context.Context, room string, by Member) (view Room, err error) {
	if err := CheckRoom(room); err != nil {
		return view, err
	}
	err = s.look(ctx, func() error {
		r := s.rooms[room]
		if r == nil {
			return ErrNotFound
		}
		view = s.viewLocked(r, by)
		return nil
	})
	return view, err
}

// viewLocked returns a room as seen by a member.
func (s *Memory) viewLocked(r *memoryRoom, by Member) Room {
	view := Room{RoomID: r.name}
	if r.conversation != nil {
		view = *r.conversation
		view.Labels = slices.Clone(view.Labels)
	}
	view.Head, view.Floor = r.head, r.floor
	if len(r.messages) > 0 {
		view.LastAt = TimeMilli(r.lastAt)
	}
	for i := len(r.messages) - 1; i >= 0 && view.Last == nil; i-- {
		if m := r.messages[i]; !m.Deleted {
			view.Last = &m
		}
	}
	for member, mark := range r.marks {
		if member.OperatorID != "" {
			view.OperatorsReadSeq = max(view.OperatorsReadSeq, mark.Seq)
		}
	}
	if view.UserID != "" {
		view.UserReadSeq = r.marks[Member{UserID: view.UserID}].Seq
		if p, ok := s.people[view.UserID]; ok {
			view.User = &Person{UserID: p.UserID, Name: p.Name, Email: p.Email, Verified: p.Verified}
		}
	}
	view.ReadSeq = r.marks[by].Seq
	view.Unread = r.unread(by, view.ReadSeq)
	return view
}

// makeLocked returns a room, which it creates if necessary.
func (s *Memory) makeLocked(name string) *memoryRoom {
	r := s.rooms[name]
	if r == nil {
		s.lastRoom++
		r = &memoryRoom{
			name: name, number: s.lastRoom,
			clients: make(map[memoryKey]int64), marks: make(map[Member]Mark),
			head: s.erased.heads[name], floor: s.erased.heads[name],
		}
		s.rooms[name] = r
	}
	return r
}

// converseLocked makes a new room a conversation. Its first change is up to the caller.
func (s *Memory) converseLocked(r *memoryRoom, c *Conversation, now int64) {
	s.putLocked(c.Person(s.people[c.UserID]), now) // cannot fail: it has no attributes
	room := c.Room(r.name, TimeMilli(now))
	r.conversation = &room
}

// changedLocked gives the next change to a room if that is a conversation.
func (s *Memory) changedLocked(r *memoryRoom) {
	if r.conversation == nil {
		return
	}
	s.change++
	r.conversation.Change = s.change
	s.changed = append(s.changed, memoryChange{s.change, r})
	if len(s.changed) > 2*len(s.rooms)+1000 {
		s.changed = slices.DeleteFunc(s.changed, func(c memoryChange) bool { return c.stale() })
	}
}

// memoryChange is an entry of the order of changes.
type memoryChange struct {
	number int64
	room   *memoryRoom
}

// stale reports whether the room has changed since.
func (c memoryChange) stale() bool { return c.room.conversation.Change != c.number }

// ChangedRooms implements [Rooms].
func (s *Memory) ChangedRooms(ctx context.Context, after int64, limit int, by Member) (changed ChangedRooms, err error) {
	limit = pageLimit(limit)
	err = s.look(ctx, func() error {
		if after < s.changeFloor {
			return ErrPruned
		}
		changed = ChangedRooms{Rooms: []Room{}, Next: s.change, Head: s.change}
		from := sort.Search(len(s.changed), func(i int) bool { return s.changed[i].number > after })
		for _, c := range s.changed[from:] {
			if c.stale() {
				continue
			}
			if len(changed.Rooms) == limit {
				changed.Next = changed.Rooms[limit-1].Change
				break
			}
			changed.Rooms = append(changed.Rooms, s.viewLocked(c.room, by))
		}
		return nil
	})
	return changed, err
}

// ListRooms implements [Rooms]. It looks at every room.
func (s *Memory) ListRooms(ctx context.Context, q RoomQuery) (list RoomList, err error) {
	q, after, err := q.Prepare()
	if err != nil {
		return list, err
	}
	type entry struct {
		RoomPosition
		room *memoryRoom
	}
	less := func(a, b RoomPosition) int {
		switch order := cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID)); {
		case a.Rest != b.Rest:
			if b.Rest {
				return -1
			}
			return 1
		case q.Ascending(a):
			return order
		default:
			return -order
		}
	}
	err = s.look(ctx, func() error {
		var found []entry
		for _, r := range s.rooms {
			if r.conversation == nil {
				continue
			}
			room := *r.conversation
			if q.Unread {
				room.Unread = r.unread(q.By, r.marks[q.By].Seq)
			}
			at := RoomPosition{ID: r.number}
			switch {
			case q.Sort == ByWaiting && !room.WaitingSince.IsZero():
				at.Key = room.WaitingSince.UnixMilli()
			case q.Sort != ByCreated:
				at.Key, at.Rest = room.LastAt.UnixMilli(), q.Sort == ByWaiting
			}
			if q.matches(&room) && (after == nil || less(*after, at) < 0) {
				found = append(found, entry{at, r})
			}
		}
		slices.SortFunc(found, func(a, b entry) int { return less(a.RoomPosition, b.RoomPosition) })
		list = RoomList{Rooms: []Room{}, Head: s.change}
		if len(found) > q.Limit {
			found = found[:q.Limit]
			list.Next = q.Next(found[q.Limit-1].RoomPosition)
		}
		for _, e := range found {
			list.Rooms = append(list.Rooms, s.viewLocked(e.room, q.By))
		}
		return nil
	})
	return list, err
}

// CountRooms implements [Rooms].
func (s *Memory) CountRooms(ctx context.Context, by Member) (n RoomCounts, err error) {
	err = s.look(ctx, func() error {
		count := func(to *int, counts bool) {
			if counts {
				*to = min(*to+1, MaxCount)
			}
		}
		for _, room := range s.rooms {
			r := room.conversation
			if r == nil || r.Status != Open || by.UserID != "" && r.UserID != by.UserID {
				continue
			}
			count(&n.Open, true)
			count(&n.Waiting, !r.WaitingSince.IsZero())
			count(&n.Unassigned, r.OperatorID == "")
			count(&n.Mine, by.OperatorID != "" && r.OperatorID == by.OperatorID)
		}
		return nil
	})
	return n, err
}

// CreateRoom implements [Rooms].
func (s *Memory) CreateRoom(ctx context.Context, room string, c Conversation) (view Room, err error) {
	if err := CheckConversation(room); err != nil {
		return view, err
	}
	if c, err = c.Prepare(); err != nil {
		return view, err
	}
	err = s.write(ctx, "create room", func(now int64) error {
		if r := s.rooms[room]; r != nil {
			return s.conflictLocked(r)
		}
		r := s.makeLocked(room)
		s.converseLocked(r, &c, now)
		s.changedLocked(r)
		s.logLocked(RoomChanged, r.name, s.change, 0)
		view = s.viewLocked(r, Member{})
		return nil
	})
	return view, err
}

// conflictLocked returns an [ErrConflict] with the room.
func (s *Memory) conflictLocked(r *memoryRoom) error {
	view := s.viewLocked(r, Member{})
	return ErrConflict.Wrap("room", &Conflict{Room: &view})
}

// UpdateRoom implements [Rooms].
func (s *Memory) UpdateRoom(ctx context.Context, u RoomUpdate) (updated Updated, err error) {
	if u, err = u.Prepare(); err != nil {
		return Updated{}, err
	}
	err = s.write(ctx, "update room", func(now int64) error {
		r := s.rooms[u.RoomID]
		if r == nil || r.conversation == nil {
			return ErrNotFound
		}
		room := *r.conversation
		updated.Changed, err = u.Apply(&room, TimeMilli(now))
		switch {
		case err == ErrConflict:
			return s.conflictLocked(r)
		case err != nil:
			return err
		case updated.Changed:
			if updated.Note, err = s.noteLocked(u.Note, now); err != nil {
				return err
			}
			r.conversation = &room
			s.changedLocked(r)
			s.logLocked(RoomChanged, r.name, s.change, 0)
		}
		updated.Room = s.viewLocked(r, Member{})
		return nil
	})
	if err != nil {
		return Updated{}, err
	}
	return updated, nil
}

// noteLocked appends a note, unless it is nil.
func (s *Memory) noteLocked(note *Draft, now int64) (*Message, error) {
	if note == nil {
		return nil, nil
	}
	a := s.appendLocked(*note, now)
	return &a.Message, a.Err
}

// pageLimit returns how many entries a page has.
func pageLimit(limit int) int {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return min(limit, MaxLimit)
}
