package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
)

const (
	readSeqQuery = "SELECT read_seq FROM cursors WHERE room = ? AND member = ?"

	// countsAsUnread says whether the message n of the room r counts for the member ?1. In a
	// conversation, the other side's messages do.
	countsAsUnread = `n.deleted = 0 AND ?1 != '' AND iif(r.user_id IS NULL,
		iif(n.operator_id IS NULL, 'u' || n.user_id, 'o' || n.operator_id) != ?1,
		(n.operator_id IS NULL) = (?1 GLOB 'o*'))`

	// unreadQuery counts from ?2 on, the key of a mark.
	unreadQuery = `SELECT count(*) FROM (SELECT 1 FROM rooms r CROSS JOIN messages n
		WHERE r.id = ?2 >> 32 AND n.id > max(?2, (r.id << 32) + r.head - ?4) AND n.id < (r.id + 1) << 32 AND ` + countsAsUnread + ` LIMIT ?3)`
)

// MarkRead implements [history.Reads].
func (s *Store) MarkRead(ctx context.Context, room string, by history.Member, seq int64) (history.Marked, error) {
	return s.mark(ctx, room, by, func(mark, head int64) int64 { return max(mark, min(seq, head)) })
}

// MarkUnread implements [history.Reads].
func (s *Store) MarkUnread(ctx context.Context, room string, by history.Member, seq int64) (history.Marked, error) {
	return s.mark(ctx, room, by, func(mark, _ int64) int64 { return min(mark, max(seq, 1)-1) })
}

// mark moves a mark to where move says. Only if it moves, the connection that writes is needed. What is
// unread is counted before that, where clients take turns, because somebody may have written very
// many messages since the mark.
func (s *Store) mark(ctx context.Context, room string, by history.Member, move func(mark, head int64) int64) (m history.Marked, err error) {
	if err := by.Check(); err != nil {
		return m, err
	}
	member := cell.Member(by)
	for {
		var was int64
		m.Seq, m.Unread = 0, 0
		_, err = s.readRoom(ctx, room, &history.Limit{}, func(r *reader, id int64, s *history.Slice) (err error) {
			if was, err = readSeq(ctx, r.readSeq, id, member); err != nil {
				return err
			}
			m.Seq = move(was, s.Head)
			return r.unread.QueryRowContext(ctx, member, at(id, m.Seq), history.MaxUnread, history.UnreadSpan).Scan(&m.Unread)
		})
		if err != nil || m.Seq == was {
			return m, err
		}
		target := m.Seq
		err = s.together(ctx, "mark", func(ctx context.Context, b *batch) error {
			r, found, err := b.find(ctx, room)
			if err != nil || !found {
				return err
			}
			if was, err = readSeq(ctx, b.readSeq, r.ID, member); err != nil {
				return err
			}
			if m.Moved = move(was, target) == target && was != target; m.Moved {
				_, err = b.writer.mark.ExecContext(ctx, r.ID, member, target, b.now)
			}
			return err
		})
		if err != nil || m.Moved {
			return m, err
		}
		// Somebody else has moved it meanwhile.
	}
}

func readSeq(ctx context.Context, stmt *sql.Stmt, room int64, member string) (seq int64, err error) {
	err = stmt.QueryRowContext(ctx, room, member).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return seq, err
}

// Marks implements [history.Reads].
func (s *Store) Marks(ctx context.Context, room string) ([]history.Mark, error) {
	marks := []history.Mark{}
	_, err := s.readRoom(ctx, room, &history.Limit{}, func(r *reader, id int64, _ *history.Slice) error {
		rows, err := r.marks.QueryContext(ctx, id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var member string
			var m history.Mark
			var at int64
			if err := rows.Scan(&member, &m.Seq, &at); err != nil {
				return err
			}
			m.Member, m.At = cell.MemberOf(member), history.TimeMilli(at)
			marks = append(marks, m)
		}
		return rows.Err()
	})
	return marks, err
}
