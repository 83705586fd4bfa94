package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
)

const (
	// counts says whether the message n of the room r counts as unread for the member $1. In a
	// conversation, the other side's messages do.
	counts = `NOT n.deleted AND $1 <> '' AND CASE WHEN r.user_id IS NULL
		THEN (CASE WHEN n.operator_id IS NULL THEN 'u' || n.user_id ELSE 'o' || n.operator_id END) <> $1
		ELSE (n.operator_id IS NULL) = starts_with($1, 'o') END`

	// markedQuery reads a room and a mark, and counts what is unread after another mark, which the case
	// makes of it.
	markedQuery = `SELECT was, target, (SELECT count(*) FROM (SELECT 1 FROM parley.messages n
			WHERE n.room = r.id AND n.seq > greatest(target, r.head - $4::bigint) AND ` + counts + ` LIMIT $3) x)
		FROM parley.rooms r LEFT JOIN parley.cursors c ON c.room = r.id AND c.member = $1,
		LATERAL (SELECT coalesce(c.read_seq, 0) AS was) w,
		LATERAL (SELECT CASE WHEN $6 THEN greatest(was, least($5::bigint, r.head)) ELSE least(was, greatest($5::bigint, 1) - 1) END AS target) t
		WHERE r.room_id = $2`

	// markQuery moves a mark unless another has moved it. The room cannot be erased meanwhile.
	markQuery = `INSERT INTO parley.cursors AS c (room, member, read_seq, at)
		SELECT id, $2, $4, $5 FROM (SELECT id FROM parley.rooms WHERE room_id = $1 FOR KEY SHARE) r
		ON CONFLICT (room, member) DO UPDATE SET read_seq = excluded.read_seq, at = excluded.at WHERE c.read_seq = $3`
)

// MarkRead implements [history.Reads].
func (s *Store) MarkRead(ctx context.Context, room string, by history.Member, seq int64) (history.Marked, error) {
	return s.mark(ctx, room, by, seq, true)
}

// MarkUnread implements [history.Reads].
func (s *Store) MarkUnread(ctx context.Context, room string, by history.Member, seq int64) (history.Marked, error) {
	return s.mark(ctx, room, by, seq, false)
}

// mark moves a mark, forward or back. What is unread is counted where clients take turns.
func (s *Store) mark(ctx context.Context, room string, by history.Member, seq int64, forward bool) (m history.Marked, err error) {
	if err := by.Check(); err != nil {
		return m, err
	}
	if err := history.CheckRoom(room); err != nil {
		return m, err
	}
	member := cell.Member(by)
	for {
		var was int64
		m = history.Marked{}
		err := s.one(ctx, markedQuery, []any{member, room, history.MaxUnread, history.UnreadSpan, seq, forward}, &was, &m.Seq, &m.Unread)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return history.Marked{}, nil
		case err != nil || m.Seq == was:
			return m, err
		}
		err = s.writing(ctx, "mark", func(ctx context.Context, conn *pgxpool.Conn) error {
			tag, err := conn.Exec(ctx, markQuery, room, member, was, m.Seq, s.now().UnixMilli())
			m.Moved = tag.RowsAffected() > 0
			return err
		})
		if err != nil || m.Moved {
			return m, err
		}
		// Somebody else has moved it meanwhile.
	}
}

// Marks implements [history.Reads].
func (s *Store) Marks(ctx context.Context, room string) (marks []history.Mark, err error) {
	if err := history.CheckRoom(room); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		marks = []history.Mark{}
		rows, err := q.Query(ctx, `SELECT c.member, c.read_seq, c.at FROM parley.cursors c JOIN parley.rooms r ON r.id = c.room
			WHERE r.room_id = $1 ORDER BY c.member`, room)
		if err != nil {
			return err
		}
		var member string
		var seq, at int64
		_, err = pgx.ForEachRow(rows, []any{&member, &seq, &at}, func() error {
			marks = append(marks, history.Mark{Member: cell.MemberOf(member), Seq: seq, At: history.TimeMilli(at)})
			return nil
		})
		return err
	})
	return marks, err
}
