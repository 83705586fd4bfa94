package sqlite

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
	err = s.read(ctx, func(r *reader) error {
		var floor int64
		if err := r.positions.QueryRowContext(ctx).Scan(&list.Head, &floor); err != nil {
			return err
		}
		ids, next, err := listing.Page(&q, after, func(p listing.Part, take func(listing.Rows) error) error {
			query, args := listQuery(&q, p)
			rows, err := r.conn.QueryContext(ctx, query, args...)
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
		list.Rooms, err = views(ctx, r.view, q.By, ids)
		return err
	})
	return list, err
}

// order is how a part of a list goes through an index.
type order struct {
	key        string // the column after the filter's columns in the index; "": the id
	descending bool
	index      string
	where      string
	args       []any
	status     bool // the index begins with, or continues with, the status
}

// orderOf chooses the index.
func orderOf(q *history.RoomQuery, rest bool) (o order) {
	o = order{key: "last_at", descending: true, index: "rooms_activity", where: "user_id IS NOT NULL", status: true}
	switch {
	case q.Sort == history.ByCreated:
		o.key, o.index = "", "rooms_created"
	case q.Sort == history.ByWaiting && !rest:
		o = order{key: "waiting_at", index: "rooms_waiting", where: "waiting_at IS NOT NULL"}
	}
	switch kind := q.Assignee.Kind; {
	case q.UserID != "": // few: SQLite sorts them, unless it is by activity
		o.index, o.status = "rooms_user", false
		o.where += " AND user_id = ?"
		o.args = append(o.args, q.UserID)
	case o.key == "":
	case kind == history.NoAssignee, kind == history.AssignedTo:
		o.index = map[string]string{"last_at": "rooms_operator", "waiting_at": "rooms_queue"}[o.key]
		o.where += " AND operator_id IS ?"
		o.args = append(o.args, orNull(q.Assignee.OperatorID))
	}
	return o
}

// listQuery returns a query of ids, keys, and whether the rest of the filter matches.
func listQuery(q *history.RoomQuery, p listing.Part) (query string, args []any) {
	o := orderOf(q, p.Rest)
	matches, matchArgs := filter(q, p.Rest, &o)
	key, compare, direction := o.key, ">", ""
	if key == "" {
		key = "0"
	}
	if o.descending {
		compare, direction = "<", " DESC"
	}
	statuses := []string{""}
	if o.status {
		statuses = []string{string(history.Open), string(history.Closed)}
		if q.Status != "" {
			statuses = []string{string(q.Status)}
		}
	}
	var parts []string
	for _, status := range statuses {
		part := fmt.Sprintf("SELECT id, %s AS key, %s AS matches FROM rooms r INDEXED BY %s WHERE %s", key, matches, o.index, o.where)
		args = append(append(args, matchArgs...), o.args...)
		if status != "" {
			part += " AND status = ?"
			args = append(args, status)
		}
		switch {
		case p.After != nil && o.key == "":
			part += " AND id < ?"
			args = append(args, p.After.ID)
		case p.After != nil:
			part += fmt.Sprintf(" AND (%s, id) %s (?, ?)", o.key, compare)
			args = append(args, p.After.Key, p.After.ID)
		}
		parts = append(parts, part)
	}
	by := "id DESC"
	if o.key != "" {
		by = "key" + direction + ", id" + direction
	}
	return strings.Join(parts, " UNION ALL ") + " ORDER BY " + by + " LIMIT ?", append(args, p.Limit)
}

// filter returns an expression for what the order does not select.
func filter(q *history.RoomQuery, rest bool, o *order) (expression string, args []any) {
	var terms []string
	add := func(term string, values ...any) {
		terms = append(terms, term)
		args = append(args, values...)
	}
	if q.Status != "" && !o.status {
		add("status = ?", string(q.Status))
	}
	if q.Waiting && o.key != "waiting_at" {
		add("waiting_at IS NOT NULL")
	}
	if rest {
		add("waiting_at IS NULL")
	}
	indexed := o.index == "rooms_operator" || o.index == "rooms_queue"
	switch kind := q.Assignee.Kind; {
	case (kind == history.NoAssignee || kind == history.AssignedTo) && !indexed:
		add("operator_id IS ?", orNull(q.Assignee.OperatorID))
	case kind == history.AssignedToOthers:
		add("operator_id IS NOT NULL AND operator_id != ?", q.Assignee.OperatorID)
	}
	if q.Label != "" {
		add("EXISTS (SELECT 1 FROM json_each(labels) WHERE value = ?)", q.Label)
	}
	if q.Unread {
		mark := "coalesce((SELECT read_seq FROM cursors WHERE room = r.id AND member = ?), 0)"
		side := "n.operator_id IS NULL" // what an operator reads
		if q.By.OperatorID == "" {
			side = "n.operator_id IS NOT NULL"
		}
		member := cell.Asker(q.By)
		add("? != '' AND head > "+mark+" AND EXISTS (SELECT 1 FROM messages n WHERE n.id > (r.id << 32) + max("+mark+
			", head - ?) AND n.id < (r.id + 1) << 32 AND n.deleted = 0 AND "+side+")", member, member, member, history.UnreadSpan)
	}
	if terms == nil {
		return "1", nil
	}
	return "(" + strings.Join(terms, ") AND (") + ")", args
}

// CountRooms implements [history.Rooms].
func (s *Store) CountRooms(ctx context.Context, by history.Member) (n history.RoomCounts, err error) {
	err = s.read(ctx, func(r *reader) error {
		for _, count := range counts(by, &n) {
			if err := r.conn.QueryRowContext(ctx, count.query(), append(count.args, history.MaxCount)...).Scan(count.to); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// count is a number of open conversations.
type count struct {
	to   *int
	from string // an index, and what it selects
	args []any
}

func (c *count) query() string {
	return "SELECT count(*) FROM (SELECT 1 FROM rooms INDEXED BY " + c.from + " LIMIT ?)"
}

func counts(by history.Member, n *history.RoomCounts) []count {
	if by.UserID != "" {
		const own = "rooms_user WHERE user_id = ? AND status = 'open'"
		user := []any{by.UserID}
		return []count{
			{&n.Open, own, user},
			{&n.Waiting, own + " AND waiting_at IS NOT NULL", user},
			{&n.Unassigned, own + " AND operator_id IS NULL", user},
		}
	}
	const operator = "rooms_operator WHERE user_id IS NOT NULL AND status = 'open' AND operator_id IS ?"
	all := []count{
		{&n.Open, "rooms_created WHERE user_id IS NOT NULL AND status = 'open'", nil},
		{&n.Waiting, "rooms_waiting WHERE waiting_at IS NOT NULL", nil},
		{&n.Unassigned, operator, []any{nil}},
	}
	if by.OperatorID != "" {
		all = append(all, count{&n.Mine, operator, []any{by.OperatorID}})
	}
	return all
}
