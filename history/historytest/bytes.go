package historytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
)

func testBytes(t *testing.T, store history.Store) {
	if err := checkBytes(store); err != nil {
		t.Error(err)
	}
}

// checkBytes checks that pages keep to their limit of bytes and say what they lack.
func checkBytes(store history.Store) error {
	ctx := context.Background()
	// Ten messages of equal size, except that number 5 is 50 times as large.
	var drafts []history.Draft
	for n := range 10 {
		length := 1000
		if n == 4 {
			length = 50_000
		}
		drafts = append(drafts, history.Draft{RoomID: "a", UserID: "ann", Message: text(length)})
	}
	stored, err := store.Append(ctx, drafts)
	if err != nil {
		return err
	}
	size := stored[0].Message.Size()
	var faults []error
	check := func(what string, s history.Slice, err error, from, to int64, moreBefore, moreAfter bool) {
		var got, want []int64
		for _, m := range s.Messages {
			got = append(got, m.Seq)
		}
		for n := from; n <= to; n++ {
			want = append(want, n)
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || s.MoreBefore != moreBefore || s.MoreAfter != moreAfter || s.Head != 10 {
			faults = append(faults, fmt.Errorf("%s: %v, more %v %v, head %d, %v; want %v, more %v %v",
				what, got, s.MoreBefore, s.MoreAfter, s.Head, err, want, moreBefore, moreAfter))
		}
	}
	for _, test := range []struct {
		page                  history.Page // with the limit of bytes in messages of the usual size
		from, to              int64
		moreBefore, moreAfter bool
	}{
		{history.Page{Limit: history.Limit{Bytes: 5}}, 6, 10, true, false},
		{history.Page{Limit: history.Limit{Bytes: 7}}, 6, 10, true, false},
		{history.Page{Limit: history.Limit{Bytes: 5, Messages: 4}}, 7, 10, true, false},
		{history.Page{Limit: history.Limit{Bytes: 100}}, 1, 10, false, false},
		{history.Page{Before: 8, Limit: history.Limit{Bytes: 1}}, 7, 7, true, true},
		{history.Page{Before: 8, Limit: history.Limit{Bytes: 4}}, 6, 7, true, true},
		{history.Page{Before: 6, Limit: history.Limit{Bytes: 4}}, 5, 5, true, true}, // one always fits
		{history.Page{Before: 5, Limit: history.Limit{Bytes: 4}}, 1, 4, false, true},
		{history.Page{After: -1, Limit: history.Limit{Bytes: 3}}, 1, 3, false, true},
		{history.Page{After: 3, Limit: history.Limit{Bytes: 3}}, 4, 4, true, true},
		{history.Page{After: 4, Limit: history.Limit{Bytes: 3}}, 5, 5, true, true},
		{history.Page{After: 7, Limit: history.Limit{Bytes: 3}}, 8, 10, true, false},
		{history.Page{Around: 8, Limit: history.Limit{Bytes: 4}}, 6, 9, true, true},
		{history.Page{Around: 5, Limit: history.Limit{Bytes: 4}}, 3, 5, true, true},
		{history.Page{Around: 6, Limit: history.Limit{Bytes: 4}}, 5, 7, true, true}, // one on each side
		{history.Page{Around: 8, Limit: history.Limit{Bytes: 4, Messages: 1}}, 8, 8, true, true},
		{history.Page{Around: 12, Limit: history.Limit{Bytes: 4}}, 9, 10, true, false},
	} {
		test.page.Limit.Bytes *= size
		s, err := store.History(ctx, "a", test.page)
		check(fmt.Sprintf("%+v", test.page), s, err, test.from, test.to, test.moreBefore, test.moreAfter)
	}
	for _, test := range []struct {
		since, bytes, to int64
	}{
		{0, 3, 3}, {2, 3, 4}, {4, 1, 5}, {5, 4, 9}, {5, 5, 10}, {9, 1, 10}, {10, 1, 10}, {0, 100, 10},
	} {
		l := history.Limit{Bytes: int(test.bytes) * size}
		s, err := store.Changes(ctx, "a", test.since, l)
		what := fmt.Sprintf("changes since %d, %+v", test.since, l)
		check(what, s, err, test.since+1, test.to, test.since > 0, test.to < 10)
		if s.UpTo != test.to {
			faults = append(faults, fmt.Errorf("%s: up to %d, want %d", what, s.UpTo, test.to))
		}
	}

	// Without a limit of bytes, the page is small all the same.
	drafts = drafts[:0]
	for range 10 {
		drafts = append(drafts, history.Draft{RoomID: "b", UserID: "ann", Message: text(history.DefaultBytes / 5)})
	}
	if _, err := store.Append(ctx, drafts); err != nil {
		return err
	}
	for what, read := range map[string]func() (history.Slice, error){
		"history": func() (history.Slice, error) { return store.History(ctx, "b", history.Page{}) },
		"changes": func() (history.Slice, error) { return store.Changes(ctx, "b", 0, history.Limit{}) },
	} {
		if s, err := read(); err != nil || len(s.Messages) != 4 {
			faults = append(faults, fmt.Errorf("%s without a limit: %d messages, %v", what, len(s.Messages), err))
		}
	}
	return errors.Join(faults...)
}

// text returns a message of n bytes.
func text(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n-2) + `"`) }
