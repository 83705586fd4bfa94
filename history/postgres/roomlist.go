package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/cell"
	"github.com/parley-go/parley/history/internal/listing"
)

// ListRooms implements [history.Rooms].
func (s *Store) ListRooms(ctx context.Context, q history.RoomQuery) (list history.RoomList, err error) {
	q, after, err := q.Prepare()
	if err != nil {
		return list, err
	}
	err = s.snapshot(ctx, func(ctx context.Context, c querier) error {
		list = history.RoomList{}
		if err := c.QueryRow(ctx, "SELECT change FROM parley.counters").Scan(&list.Head); err != nil {
			return err
		}
		ids, next, err := listing.Page(&q, after, func(p listing.Part, take func(listing.Rows) error) error {
			query, args := listQuery(&q, p)
			rows, err := c.Query(ctx, query, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			return take(rows)
		})
		if err != nil {
			return err
		}
		if next != nil {
			list.Next = q.Next(*next)
		}
		list.Rooms, err = views(ctx, c, q.By, ids)
		return err
	})
	return list, err
}

// listQuery returns a query of ids, keys, and whether the rest of the filter matches. Each part goes
// through one index in its order: rooms_activity, rooms_operator, rooms_user, rooms_created,
// rooms_waiting or rooms_queue.
func listQuery(q *history.RoomQuery, p listing.Part) (query string, args []any) {
	arg := func(value any) string {
		args = append(args, value)
		return fmt.Sprint("$", len(args))
	}
	key, compare, direction, where, byStatus := "listed_at", "<", " DESC", "user_id IS NOT NULL", true
	switch {
	case q.Sort == history.ByCreated:
		key = ""
	case q.Sort == history.ByWaiting && !p.Rest:
		key, compare, direction, where, byStatus = "waiting_at", ">", "", "waiting_at IS NOT NULL", false
	}
	var filter []string
	if q.UserID != "" { // few: the server sorts them, unless it is by activity
		where += " AND user_id = " + arg(q.UserID)
		byStatus = false
	}
	operator := ""
	switch q.Assignee.Kind {
	case history.NoAssignee, history.AssignedTo:
		operator = "coalesce(operator_id, '') = " + arg(q.Assignee.OperatorID)
	case history.AssignedToOthers:
		filter = append(filter, "operator_id IS NOT NULL AND operator_id <> "+arg(q.Assignee.OperatorID))
	}
	switch {
	case operator != "" && (q.UserID != "" || key == ""):
		filter = append(filter, operator)
	case operator != "":
		where += " AND " + operator
	}
	if q.Status != "" && !byStatus {
		filter = append(filter, "status = "+arg(string(q.Status)))
	}
	if q.Waiting && key != "waiting_at" {
		filter = append(filter, "waiting_at IS NOT NULL")
	}
	if p.Rest {
		filter = append(filter, "waiting_at IS NULL")
	}
	if q.Label != "" {
		filter = append(filter, arg(q.Label)+" = ANY(labels)")
	}
	if q.Unread {
		filter = append(filter, unread(q.By, arg))
	}
	matches := "true"
	if filter != nil {
		matches = "coalesce((" + strings.Join(filter, ") AND (") + "), false)"
	}
	selected, by := "0::bigint", "id DESC"
	if key != "" {
		selected, by = key, key+direction+", id"+direction
	}
	switch {
	case p.After != nil && key == "":
		where += " AND id < " + arg(p.After.ID)
	case p.After != nil:
		where += fmt.Sprintf(" AND (%s, id) %s (%s::bigint, %s::bigint)", key, compare, arg(p.After.Key), arg(p.After.ID))
	}
	statuses := []history.Status{""}
	if byStatus {
		statuses = []history.Status{history.Open, history.Closed}
		if q.Status != "" {
			statuses = []history.Status{q.Status}
		}
	}
	most := arg(p.Limit)
	var parts []string
	for _, status := range statuses {
		part := fmt.Sprintf("SELECT id, %s AS key, %s AS matches FROM parley.rooms r WHERE %s", selected, matches, where)
		if status != "" {
			part += " AND status = " + arg(string(status))
		}
		parts = append(parts, fmt.Sprintf("(%s ORDER BY %s LIMIT %s)", part, by, most))
	}
	if len(parts) == 1 {
		return parts[0], args
	}
	outer := "id DESC"
	if key != "" {
		outer = "key" + direction + ", id" + direction
	}
	return strings.Join(parts, " UNION ALL ") + " ORDER BY " + outer + " LIMIT " + most, args
}

// unread is an expression for conversations with messages that a member has not read.
func unread(by history.Member, arg func(any) string) string {
	member := cell.Asker(by)
	if member == "" {
		return "false"
	}
	side := "n.operator_id IS NULL" // what an operator reads
	if by.OperatorID == "" {
		side = "n.operator_id IS NOT NULL"
	}
	mark := "coalesce((SELECT read_seq FROM parley.cursors WHERE room = r.id AND member = " + arg(member) + "), 0)"
	return "head > " + mark + " AND EXISTS (SELECT 1 FROM parley.messages n WHERE n.room = r.id AND n.seq > greatest(" + mark +
		", head - " + fmt.Sprint(history.UnreadSpan) + ") AND NOT n.deleted AND " + side + ")"
}

// CountRooms implements [history.Rooms].
func (s *Store) CountRooms(ctx context.Context, by history.Member) (n history.RoomCounts, err error) {
	where, mine := "user_id IS NOT NULL", "false"
	var args []any
	if by.UserID != "" {
		where = "user_id = $1"
		args = append(args, by.UserID)
	} else if by.OperatorID != "" {
		mine = "coalesce(operator_id, '') = $1"
		args = append(args, by.OperatorID)
	}
	count := func(condition string) string {
		return fmt.Sprintf("(SELECT count(*) FROM (SELECT 1 FROM parley.rooms WHERE %s AND status = 'open' AND %s LIMIT %d) x)",
			where, condition, history.MaxCount)
	}
	query := "SELECT " + strings.Join([]string{count("true"), count("waiting_at IS NOT NULL"), count("coalesce(operator_id, '') = ''"), count(mine)}, ", ")
	err = s.one(ctx, query, args, &n.Open, &n.Waiting, &n.Unassigned, &n.Mine)
	return n, err
}
