package postgres

import (
	"fmt"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/listing"
)

// ListQuery returns the query of a page of a list, and its arguments.
func ListQuery(q history.RoomQuery, rest bool) (string, []any) {
	q, _, _ = q.Prepare()
	return listQuery(&q, listing.Part{Rest: rest, After: &history.RoomPosition{Key: 1, ID: 1}, Limit: 300})
}

// Indexed are queries that must not read whole tables, with arguments.
var Indexed = map[string][]any{
	makeQuery:             {[]string{"a"}},
	lockQuery:             {[]string{"a"}},
	headsQuery:            {[]int64{1}, []int64{1}, []int64{1}, []int64{1}},
	replayQuery:           {[]int32{1}, []int64{1}, []string{"c"}, []string{"uann"}},
	replayMergedQuery:     {[]int32{1}, []int64{1}, []string{"c"}, []string{"uann"}},
	pageQueries.newest:    {"a", 10, 1000},
	pageQueries.before:    {"a", 5, 10, 1000},
	pageQueries.after:     {"a", 5, 10, 1000},
	pageQueries.around:    {"a", 5, 10, 1000, 10, 1000},
	pageQueries.unchanged: {"a", 5, 10, 1000},
	viewQuery:             {"oop", []int64{1}, 100, 1000},
	roomQuery:             {"oop", "a", 100, 1000},
	markedQuery:           {"oop", "a", 100, 1000, 7, true},
	prunableQuery:         {1, 500, false, 1, 0},
	olderQuery:            {1, 5, 10, 1000},

	fmt.Sprintf(candidatesQuery, ""): {"'1/a'", []int64{1}, 1, 1, 1, 1, 10, 0},
}

// Suspects reports whether a change was refused for a reason that is not known yet.
func (s *Store) Suspects() bool { return s.faults.suspect.Load() }
