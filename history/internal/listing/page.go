// Package listing reads pages of lists of conversations, in the same order and with the same cursors from both
// databases.
package listing

import "github.com/parley-go/parley/history"

// MaxScan is how many conversations a page looks at beside those that it has. A filter without an index
// of its own, such as a label, may match few of them: then the page ends early, and its cursor goes on.
const MaxScan = 250

// Rows is the result of a query: of each conversation its id, the key by which the list is sorted, and whether the
// rest of the filter matches.
type Rows interface {
	Next() bool
	Scan(...any) error
	Err() error
}

// Part is a part of a list. A list ByWaiting has two: those who wait, and the rest. Another list has one.
type Part struct {
	Rest  bool
	After *history.RoomPosition // nil: from the beginning
	Limit int                   // rows at most
}

// Page returns the ids of a page after a position, and the position after which the next page begins, if there is
// one. query calls take with the rows of a part.
func Page(q *history.RoomQuery, after *history.RoomPosition, query func(p Part, take func(Rows) error) error) (ids []int64, next *history.RoomPosition, err error) {
	if q.Waiting && q.Status == history.Closed {
		return nil, nil, nil // who waits is in an open conversation
	}
	p := page{position: after, scan: q.Limit + MaxScan}
	for _, rest := range []bool{false, true} {
		switch {
		case rest && (q.Sort != history.ByWaiting || q.Waiting),
			!rest && q.Sort == history.ByWaiting && (q.Status == history.Closed || after != nil && after.Rest):
			continue
		}
		from := after
		if from != nil && from.Rest != rest {
			from = nil // the part before has ended
		}
		more := false
		err := query(Part{rest, from, p.scan + 1}, func(rows Rows) (err error) {
			more, err = p.take(rows, rest, q.Limit)
			return err
		})
		if err != nil || more {
			return p.ids, p.position, err
		}
	}
	return p.ids, nil, nil
}

// page is a page that is being filled.
type page struct {
	ids      []int64
	position *history.RoomPosition // of the last conversation that was looked at
	scan     int                   // how many others may be looked at
}

// take adds rows of a part, and reports whether there are more than fit.
func (p *page) take(rows Rows, rest bool, limit int) (more bool, err error) {
	for rows.Next() {
		at := history.RoomPosition{Rest: rest}
		var matches bool
		if err := rows.Scan(&at.ID, &at.Key, &matches); err != nil {
			return false, err
		}
		if p.scan == 0 || matches && len(p.ids) == limit {
			return true, nil
		}
		p.scan--
		p.position = &at
		if matches {
			p.ids = append(p.ids, at.ID)
		}
	}
	return false, rows.Err()
}
