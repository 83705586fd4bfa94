package history

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// RoomNames implements [Names].
func (s *Memory) RoomNames(ctx context.Context, user, after string, limit int) (names []string, err error) {
	err = s.look(ctx, func() error {
		for name, r := range s.rooms {
			if !strings.HasPrefix(name, notesPrefix) && (user == "" || r.conversation != nil && r.conversation.UserID == user) {
				names = append(names, name)
			}
		}
		return nil
	})
	return following(names, after, limit), err
}

// PersonNames implements [Names].
func (s *Memory) PersonNames(ctx context.Context, after string, limit int) (names []string, err error) {
	err = s.look(ctx, func() error {
		names = slices.Collect(maps.Keys(s.people))
		return nil
	})
	return following(names, after, limit), err
}

// following returns the first names after one.
func following(names []string, after string, limit int) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return name <= after })
	slices.Sort(names)
	return names[:min(len(names), pageLimit(limit))]
}
