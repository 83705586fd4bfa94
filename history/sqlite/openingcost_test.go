package sqlite_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/history"
)

// TestOpeningCost opens a conversation that has all messages of the store: its row, as an operator sees it
// who has read nothing, and its newest page. It compares that with a SELECT of the same messages. Nearly
// all messages are of another operator, so few count as unread.
func TestOpeningCost(t *testing.T) {
	messages := scale(10_000_000)
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path)
	must(t, s.ExecWriter("PRAGMA synchronous = OFF")) // only while they are made
	drafts := []history.Draft{{RoomID: "c", UserID: "ann", Message: []byte(`"first"`), Conversation: &history.Conversation{UserID: "ann", Name: "Ann"}}}
	for n := 1; n <= messages; n++ {
		if len(drafts) == 2000 || n == messages {
			_, err := s.Append(t.Context(), drafts)
			must(t, err)
			drafts = drafts[:0]
		}
		drafts = append(drafts, history.Draft{RoomID: "c", OperatorID: "op1", ClientID: fmt.Sprintf("%012x", n),
			Message: []byte(`{"text":"the parcel has not arrived and the page says that it was handed over"}`)})
	}
	must(t, s.Close())
	s = openAt(t, path)
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	bare, err := db.Prepare("SELECT * FROM messages WHERE id > ? AND id < ? ORDER BY id DESC LIMIT 50")
	must(t, err)
	var room history.Room
	var slice history.Slice
	m := medians(t, 50, func() (err error) {
		if room, err = s.Room(t.Context(), "c", history.Member{OperatorID: "op2"}); err == nil {
			slice, err = s.History(t.Context(), "c", history.Page{})
		}
		return err
	}, func() error { return count(bare.Query(int64(1)<<32, int64(2)<<32)) })
	if room.Head != int64(messages) || len(slice.Messages) != 50 {
		t.Errorf("head %d, %d messages", room.Head, len(slice.Messages))
	}
	hold(t, bar.Bar{Name: fmt.Sprintf("opening a conversation of %d messages", messages), Value: m[0], Unit: "µs",
		Reference: "a SELECT of its newest 50", Base: m[1], Most: 6})
}

// count reads all rows of a query.
func count(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	to := make([]any, len(columns))
	for i := range to {
		to[i] = new(any)
	}
	for err == nil && rows.Next() {
		err = rows.Scan(to...)
	}
	if err == nil {
		err = rows.Err()
	}
	return err
}
