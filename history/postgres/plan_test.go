package postgres_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

// No query that grows with use reads a whole table, and no list sorts more than a page, also with a plan
// that was made while the tables were empty.
func TestPlans(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	openAt(t, url, nil)
	conn, err := pgx.Connect(t.Context(), url+"&enable_seqscan=off") // as the store connects
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	plan := func(query string, args []any) string {
		rows, err := conn.Query(t.Context(), "EXPLAIN (COSTS off) "+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return strings.Join(lines, "\n")
	}
	readsAll := func(plan string) bool {
		plan = strings.ReplaceAll(plan, "Seq Scan on counters", "") // one row
		return strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Hash Join") || strings.Contains(plan, "Hash Anti Join")
	}
	for query, args := range postgres.Indexed {
		if p := plan(query, args); readsAll(p) {
			t.Errorf("%s\n%s", query, p)
		}
	}
	exec(t, url, `INSERT INTO parley.rooms (room_id, user_id, operator_id, status, listed_at, waiting_at, change)
		SELECT 'r' || n, 'u' || n, CASE WHEN n % 100 > 0 THEN 'op' || n % 20 END, CASE WHEN n % 5 > 0 THEN 'closed' ELSE 'open' END,
		n, CASE WHEN n % 10 = 0 THEN n END, n FROM generate_series(1, 20000) n`)
	exec(t, url, "ANALYZE parley.rooms")
	sorts := regexp.MustCompile(`(?m)^ *(-> *)?(Incremental )?Sort$`)
	for _, sort := range []history.RoomSort{history.ByActivity, history.ByWaiting, history.ByCreated} {
		for _, status := range []history.Status{"", history.Open, history.Closed} {
			for _, assignee := range []history.Assignee{{}, {Kind: history.NoAssignee}, {Kind: history.AssignedTo, OperatorID: "op3"}, {Kind: history.AssignedToOthers, OperatorID: "op"}} {
				for _, rest := range []bool{false, sort == history.ByWaiting} {
					q := history.RoomQuery{Sort: sort, Status: status, Assignee: assignee, Label: "x", Unread: true, By: history.Member{OperatorID: "op"}}
					query, args := postgres.ListQuery(q, rest)
					p := plan(query, args)
					indexed := sort != history.ByCreated && (assignee.Kind == history.NoAssignee || assignee.Kind == history.AssignedTo)
					if readsAll(p) || sorts.MatchString(p) || indexed && !strings.Contains(p, "rooms_operator") && !strings.Contains(p, "rooms_queue") {
						t.Errorf("%+v\n%s\n%s", q, query, p)
					}
				}
			}
		}
	}
}
