package history

import (
	"context"
	"slices"
	"sort"
)

// memoryChangelog is the changelog of Memory, whose lock guards it.
type memoryChangelog struct {
	followers map[string]int64 // positions
	position  int64            // of the newest change
	changes   []Change
}

// logLocked notes a change of a room.
func (s *Memory) logLocked(kind ChangeKind, room string, number, seq int64) {
	c := &s.changelog
	if len(c.followers) == 0 {
		return
	}
	c.position++
	c.changes = append(c.changes, Change{Position: c.position, Kind: kind, RoomID: room, Number: number, Seq: seq})
}

// after returns the changes after a position.
func (c *memoryChangelog) after(position int64) []Change {
	return c.changes[sort.Search(len(c.changes), func(i int) bool { return c.changes[i].Position > position }):]
}

// forget drops what all followers have passed.
func (c *memoryChangelog) forget() {
	passed := c.position
	for _, position := range c.followers {
		passed = min(passed, position)
	}
	c.changes = slices.Clone(c.after(passed))
}

// FollowChanges implements [Changelog].
func (s *Memory) FollowChanges(ctx context.Context, name string) (position int64, err error) {
	err = s.write(ctx, "follow changes", func(int64) error {
		c := &s.changelog
		if _, ok := c.followers[name]; !ok {
			if c.followers == nil {
				c.followers = make(map[string]int64)
			}
			c.followers[name] = c.position
		}
		position = c.followers[name]
		return nil
	})
	return position, err
}

// ReadChanges implements [Changelog].
func (s *Memory) ReadChanges(ctx context.Context, after int64, limit int) (changes []Change, err error) {
	err = s.look(ctx, func() error {
		changes = s.changelog.after(after)
		changes = slices.Clone(changes[:min(len(changes), max(limit, 1))])
		return nil
	})
	return changes, err
}

// PassChanges implements [Changelog].
func (s *Memory) PassChanges(ctx context.Context, name string, position int64) error {
	return s.write(ctx, "pass changes", func(int64) error {
		c := &s.changelog
		if was, ok := c.followers[name]; ok {
			c.followers[name] = max(was, min(position, c.position))
			c.forget()
		}
		return nil
	})
}

// Unfollow implements [Changelog].
func (s *Memory) Unfollow(ctx context.Context, name string) error {
	return s.write(ctx, "unfollow changes", func(int64) error {
		delete(s.changelog.followers, name)
		s.changelog.forget()
		return nil
	})
}
