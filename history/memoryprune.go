package history

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// memoryPrune is how many messages a step deletes at most, of a room and of its notes.
const memoryPrune = 1000

// Prune implements [Pruner]. It looks at every room.
func (s *Memory) Prune(ctx context.Context, rule PruneRule) (p Pruned, err error) {
	if rule.Room != "" {
		if err := CheckRoom(rule.Room); err != nil {
			return p, err
		}
	}
	err = s.write(ctx, "prune", func(int64) error {
		for _, name := range slices.Sorted(maps.Keys(s.rooms)) {
			r := s.rooms[name]
			switch {
			case rule.Room != "" && rule.Room != name, strings.HasPrefix(name, notesPrefix),
				rule.Closed && r.conversation != nil && r.conversation.Status != Closed:
				continue
			}
			surplus := len(r.messages)
			if rule.Keep > 0 {
				surplus -= rule.Keep
			} else {
				surplus = 0
			}
			s.pruneLocked(r, rule.Before, surplus, &p)
			if notes := s.rooms[NotesRoom(name)]; notes != nil {
				before := rule.Before
				if rule.Keep > 0 && r.floor > 0 && len(r.messages) > 0 && before.Before(r.messages[0].Timestamp.Time) {
					before = r.messages[0].Timestamp.Time
				}
				s.pruneLocked(notes, before, 0, &p)
			}
			if p.More = len(p.Rooms) > 0; p.More {
				return nil
			}
		}
		return nil
	})
	return p, err
}

// pruneLocked deletes the first messages of a room: those from before a time, and a surplus.
func (s *Memory) pruneLocked(r *memoryRoom, before time.Time, surplus int, p *Pruned) {
	n := 0
	for n < min(len(r.messages), memoryPrune) && (n < surplus || r.messages[n].Timestamp.Before(before)) {
		n++
	}
	if n == 0 {
		return
	}
	upTo := r.messages[n-1].Seq
	for i := range r.messages[:n] {
		m := &r.messages[i]
		delete(r.clients, memoryKey{m.Author(), m.ClientID})
	}
	r.edited = slices.DeleteFunc(r.edited, func(seq int64) bool { return seq <= upTo })
	r.messages = slices.Clone(r.messages[n:])
	r.floor = max(r.floor, upTo)
	s.logLocked(MessagesPruned, r.name, upTo, upTo)
	p.Messages += n
	p.Rooms = append(p.Rooms, r.name)
}
