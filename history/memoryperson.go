package history

import (
	"context"
	"slices"
)

// Person implements [People].
func (s *Memory) Person(ctx context.Context, userID string) (p Person, err error) {
	err = s.look(ctx, func() error {
		known, ok := s.people[userID]
		if !ok {
			return ErrNotFound
		}
		p = known
		return nil
	})
	return p, err
}

// PutPerson implements [People].
func (s *Memory) PutPerson(ctx context.Context, p Person) (Person, error) {
	p, err := p.Prepare()
	if err != nil {
		return Person{}, err
	}
	err = s.write(ctx, "put person", func(now int64) error {
		p, err = s.putLocked(p, now)
		return err
	})
	if err != nil {
		return Person{}, err
	}
	return p, nil
}

func (s *Memory) putLocked(by Person, now int64) (Person, error) {
	p := s.people[by.UserID]
	shown, err := p.Put(by, TimeMilli(now))
	if err != nil {
		return p, err
	}
	s.people[p.UserID] = p
	if shown {
		for _, r := range s.conversationsLocked(p.UserID) {
			s.changedLocked(r)
			s.logLocked(RoomChanged, r.name, s.change, 0)
		}
	}
	return p, nil
}

// conversationsLocked returns the conversations of a user, in the order of their creation.
func (s *Memory) conversationsLocked(userID string) (rooms []*memoryRoom) {
	for _, r := range s.rooms {
		if r.conversation != nil && r.conversation.UserID == userID {
			rooms = append(rooms, r)
		}
	}
	slices.SortFunc(rooms, func(a, b *memoryRoom) int { return int(a.number - b.number) })
	return rooms
}

// Merge implements [People].
func (s *Memory) Merge(ctx context.Context, visitor, user string, note func(room string) *Draft) (updated []Updated, err error) {
	if err := CheckMerge(visitor, user); err != nil {
		return nil, err
	}
	err = s.write(ctx, "merge", func(now int64) error {
		v := s.people[visitor]
		if err := v.CanBecome(user, s.people[user]); err != nil {
			return err
		}
		rooms := s.conversationsLocked(visitor)
		notes := make([]*Draft, len(rooms)) // all are valid, or nothing changes
		for i, r := range rooms {
			if notes[i], err = PrepareNote(note, r.name); err != nil {
				return err
			}
		}
		updated = make([]Updated, len(rooms))
		for i, r := range rooms {
			if updated[i].Note, err = s.noteLocked(notes[i], now); err != nil {
				return err
			}
			r.conversation.UserID = user
			from, to := Member{UserID: visitor}, Member{UserID: user}
			if mark := r.marks[from]; mark.Seq > r.marks[to].Seq {
				mark.Member = to
				r.marks[to] = mark
			}
			delete(r.marks, from)
			s.changedLocked(r)
			s.logLocked(RoomChanged, r.name, s.change, 0)
			updated[i].Changed = true
		}
		s.putLocked(Person{UserID: visitor}, now) // cannot fail, nor can the next
		s.putLocked(Person{UserID: user}, now)
		for _, id := range append(s.visitors[visitor], visitor) {
			p := s.people[id]
			if p.Became != user {
				p.Became = user
				s.people[id] = p
				s.visitors[user] = append(s.visitors[user], id)
			}
		}
		delete(s.visitors, visitor)
		slices.Sort(s.visitors[user])
		for i, r := range rooms {
			updated[i].Room = s.viewLocked(r, Member{})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return updated, nil
}

// Identities implements [People].
func (s *Memory) Identities(ctx context.Context, userID string) (ids []string, err error) {
	err = s.look(ctx, func() error {
		ids = append([]string{userID}, s.visitors[userID]...)
		return nil
	})
	return ids, err
}
