package history

import (
	"cmp"
	"context"
	"slices"
)

// MarkRead implements [Reads].
func (s *Memory) MarkRead(ctx context.Context, room string, by Member, seq int64) (Marked, error) {
	return s.mark(ctx, room, by, func(r *memoryRoom, mark int64) int64 { return max(mark, min(seq, r.head)) })
}

// MarkUnread implements [Reads].
func (s *Memory) MarkUnread(ctx context.Context, room string, by Member, seq int64) (Marked, error) {
	return s.mark(ctx, room, by, func(_ *memoryRoom, mark int64) int64 { return min(mark, max(seq, 1)-1) })
}

// mark moves a member's mark to where move says.
func (s *Memory) mark(ctx context.Context, room string, by Member, move func(*memoryRoom, int64) int64) (m Marked, err error) {
	if err := by.Check(); err != nil {
		return m, err
	}
	if err := CheckRoom(room); err != nil {
		return m, err
	}
	err = s.write(ctx, "mark", func(now int64) error {
		r := s.rooms[room]
		if r == nil {
			return nil
		}
		was := r.marks[by].Seq
		m.Seq = move(r, was)
		m.Moved = m.Seq != was
		m.Unread = r.unread(by, m.Seq)
		if m.Moved {
			r.marks[by] = Mark{Member: by, Seq: m.Seq, At: TimeMilli(now)}
		}
		return nil
	})
	return m, err
}

// unread counts the messages after a mark that others wrote; see Marked.
func (r *memoryRoom) unread(by Member, mark int64) (n int) {
	for i := r.after(max(mark, r.head-UnreadSpan)); i < len(r.messages) && n < MaxUnread; i++ {
		if by.unread(&r.messages[i], r.conversation != nil) {
			n++
		}
	}
	return n
}

// Marks implements [Reads].
func (s *Memory) Marks(ctx context.Context, room string) ([]Mark, error) {
	marks := []Mark{}
	err := s.read(ctx, room, func(r *memoryRoom) error {
		for _, m := range r.marks {
			marks = append(marks, m)
		}
		return nil
	})
	slices.SortFunc(marks, func(a, b Mark) int {
		// As Marks promises: an operator has no UserID.
		return cmp.Or(cmp.Compare(a.Member.UserID, b.Member.UserID), cmp.Compare(a.Member.OperatorID, b.Member.OperatorID))
	})
	return marks, err
}
