package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// scale returns n times the environment variable SCALE, which "make perf" sets. Without it, the tests of
// this file check with small sizes that everything is found, and no bar.
func scale(n int) int {
	if s, err := strconv.ParseFloat(os.Getenv("SCALE"), 64); err == nil {
		return max(int(float64(n)*s), 100)
	}
	return max(n/10_000, 100)
}

// rounds returns how often to measure: n times, or once without the variable.
func rounds(n int) int {
	if os.Getenv("SCALE") == "" {
		return 1
	}
	return n
}

// hold prints a figure with its bar, and fails the test if the bar does not hold.
func hold(t *testing.T, b bar.Bar) {
	t.Helper()
	switch {
	case os.Getenv("SCALE") == "":
	case b.Holds():
		t.Log(b)
	default:
		t.Error(b)
	}
}

// medians runs functions alternately, up to n times each, and returns the median time of each in
// microseconds.
func medians(t *testing.T, n int, runs ...func() error) []float64 {
	t.Helper()
	took := make([][]float64, len(runs))
	n = rounds(n)
	for range n {
		for i, run := range runs {
			start := time.Now()
			must(t, run())
			took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/1e3)
		}
	}
	result := make([]float64, len(runs))
	for i := range took {
		slices.Sort(took[i])
		result[i] = took[i][n/2]
	}
	return result
}

// manyRooms makes conversations of a fifth as many users, each with three messages. Of the open ones,
// which are half, one of eight waits, one of four has no operator, and one of a hundred has a label.
func manyRooms(t *testing.T, path string, rooms int) *sqlite.Store {
	t.Helper()
	s := openAt(t, path)
	must(t, s.ExecWriter("PRAGMA synchronous = OFF")) // only while they are made
	var drafts []history.Draft
	for n := range rooms {
		user := fmt.Sprint("user-", n%max(1, rooms/5))
		for i := range 3 {
			d := history.Draft{RoomID: perfRoom(n), UserID: user, ClientID: fmt.Sprintf("%012x-%d", n, i),
				Message:      []byte(`{"text":"the parcel has not arrived and the page says that it was handed over"}`),
				Conversation: &history.Conversation{UserID: user, Name: "Ann"}}
			if i == 1 {
				d.UserID, d.OperatorID, d.Conversation = "", "op", nil
			}
			drafts = append(drafts, d)
		}
		if len(drafts) >= 3000 || n == rooms-1 {
			_, err := s.Append(t.Context(), drafts)
			must(t, err)
			drafts = drafts[:0]
		}
	}
	must(t,
		s.ExecWriter(`UPDATE rooms SET status = iif(id % 2 = 0, 'open', 'closed'), operator_id = iif(id % 8 = 0, NULL, 'op' || (id % 16)),
			waiting_at = iif(id % 16 = 0, last_at, NULL), labels = iif(id % 100 = 0, '["vip"]', '[]')`),
		s.ExecWriter("INSERT INTO cursors (room, member, read_seq, at) SELECT id, 'oop2', head, 0 FROM rooms WHERE id % 1000 != 0"),
		s.ExecWriter("ANALYZE"))
	must(t, s.Close())
	return openAt(t, path)
}

func perfRoom(n int) string { return fmt.Sprintf("c_%07d", n) }

// bareRooms returns a SELECT of the same rows on a connection of its own: the rooms, and their newest
// messages.
func bareRooms(t *testing.T, path string) func(rooms []history.Room) error {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	stmt, err := db.Prepare(`SELECT r.*, m.* FROM json_each(?) j CROSS JOIN rooms r ON r.room_id = j.value
		LEFT JOIN messages m ON m.id = r.id << 32 | r.head`)
	must(t, err)
	return func(rooms []history.Room) error {
		names := make([]string, len(rooms))
		for i := range rooms {
			names[i] = rooms[i].RoomID
		}
		list, err := json.Marshal(names)
		if err != nil {
			return err
		}
		rows, err := stmt.Query(string(list))
		if err != nil {
			return err
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		to := make([]any, len(columns))
		for i := range to {
			to[i] = new(any)
		}
		n := 0
		for ; rows.Next(); n++ {
			if err := rows.Scan(to...); err != nil {
				return err
			}
		}
		if n != len(rooms) {
			return fmt.Errorf("%d of %d rooms", n, len(rooms))
		}
		return rows.Err()
	}
}

// TestRoomListsCost compares pages of lists over many conversations, and what has changed after an
// absence, with a SELECT of the same rows.
func TestRoomListsCost(t *testing.T) {
	rooms := scale(1_000_000)
	path := filepath.Join(t.TempDir(), "history.db")
	s := manyRooms(t, path, rooms)
	bare := bareRooms(t, path)
	mine := history.Assignee{Kind: history.AssignedTo, OperatorID: "op2"}
	for _, c := range []struct {
		name string
		most float64
		q    history.RoomQuery
	}{
		{"activity", 5, history.RoomQuery{Status: history.Open, Sort: history.ByActivity}},
		{"waiting", 5, history.RoomQuery{Status: history.Open, Sort: history.ByWaiting}},
		{"created", 5, history.RoomQuery{Status: history.Open, Sort: history.ByCreated}},
		{"any status", 5, history.RoomQuery{Sort: history.ByActivity}},
		{"mine", 5, history.RoomQuery{Status: history.Open, Assignee: mine, Sort: history.ByActivity}},
		{"mine, waiting", 5, history.RoomQuery{Status: history.Open, Assignee: history.Assignee{Kind: history.NoAssignee}, Waiting: true, Sort: history.ByWaiting}},
		{"nobody's", 5, history.RoomQuery{Status: history.Open, Assignee: history.Assignee{Kind: history.NoAssignee}, Sort: history.ByWaiting}},
		{"others'", 5, history.RoomQuery{Status: history.Open, Assignee: history.Assignee{Kind: history.AssignedToOthers, OperatorID: "op2"}, Sort: history.ByActivity}},
		{"a user's", 5, history.RoomQuery{UserID: "user-7", Sort: history.ByActivity}},
		{"label", 1, history.RoomQuery{Status: history.Open, Label: "vip", Sort: history.ByActivity}},
		{"unread", 1, history.RoomQuery{Status: history.Open, Unread: true, Sort: history.ByActivity}},
	} {
		c.q.By = deskOperator
		c.q.By.OperatorID = "op2"
		var list history.RoomList
		looked := c.q // which rooms a page looks at, if few of them match
		looked.Label, looked.Unread, looked.Limit = "", false, history.DefaultLimit
		if c.q.Label != "" || c.q.Unread {
			looked.Limit += sqlite.MaxScan
		}
		reference, err := s.ListRooms(t.Context(), looked)
		must(t, err)
		m := medians(t, 50, func() (err error) {
			list, err = s.ListRooms(t.Context(), c.q)
			return err
		}, func() error { return bare(reference.Rooms) })
		if len(list.Rooms) == 0 && c.name != "unread" && c.name != "label" {
			t.Errorf("%s: no rooms", c.name)
		}
		hold(t, bar.Bar{Name: fmt.Sprintf("page of %d of %d rooms, %s", len(list.Rooms), rooms, c.name), Value: m[0], Unit: "µs",
			Reference: fmt.Sprintf("a SELECT of the %d rows that it looks at", len(reference.Rooms)), Base: m[1], Most: c.most})
	}

	// The last 1,000 that have changed.
	var head int64
	must(t, s.QueryRow("SELECT max(change) FROM rooms", &head))
	var after int64
	must(t, s.QueryRow(fmt.Sprintf("SELECT min(change) - 1 FROM (SELECT change FROM rooms ORDER BY change DESC LIMIT %d)", min(1000, rooms)), &after))
	var all []history.Room
	m := medians(t, 30, func() error {
		all = all[:0]
		for at := after; at < head; {
			changed, err := s.ChangedRooms(t.Context(), at, history.MaxLimit, history.Member{})
			if err != nil {
				return err
			}
			all, at = append(all, changed.Rooms...), changed.Next
		}
		return nil
	}, func() error { return bare(all) })
	if len(all) != min(1000, rooms) {
		t.Errorf("%d rooms have changed", len(all))
	}
	hold(t, bar.Bar{Name: fmt.Sprint("what has changed, ", len(all), " rooms"), Value: m[0], Unit: "µs", Reference: "a SELECT of the same rows", Base: m[1], Most: 5})
}

// storeRate returns how many messages a second 64 senders store.
func storeRate(t *testing.T, s *sqlite.Store, messages int) (rate float64, took []time.Duration) {
	t.Helper()
	batcher := history.NewBatcher(s, history.BatchLimits{}, nil)
	defer batcher.Close()
	var next atomic.Int64
	times := make([][]time.Duration, 64)
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for sender := range times {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(messages); n = next.Add(1) {
				start := time.Now()
				_, err := batcher.Append(context.Background(), history.Draft{
					RoomID: perfRoom(rand.IntN(200)), UserID: "user-7", ClientID: fmt.Sprintf("%012x-%x", time.Now().UnixMicro(), rand.Uint64()),
					Message: []byte(`{"text":"the parcel has not arrived and the page says that it was handed over"}`),
				})
				if err != nil {
					failed.Store(&err)
				}
				times[sender] = append(times[sender], time.Since(start))
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	took = slices.Concat(times...)
	slices.Sort(took)
	return float64(messages) / time.Since(began).Seconds(), took
}

// TestChangelogCost compares a store that has a follower with one that has none. The follower reads what
// has come every 200 ms, and passes 2,000 changes at a time.
func TestChangelogCost(t *testing.T) {
	messages := scale(500_000)
	var ratios []float64
	for range rounds(5) {
		followed, alone := open(t).(*sqlite.Store), open(t).(*sqlite.Store)
		ctx, stop := context.WithCancel(t.Context())
		read, ended := int64(0), make(chan error)
		at, err := followed.FollowChanges(t.Context(), "perf")
		must(t, err)
		go func() { ended <- follow(ctx, followed, at, &read) }()
		with, _ := storeRate(t, followed, messages)
		stop()
		must(t, <-ended)
		if read != int64(messages) {
			t.Fatalf("the follower has read %d changes of %d", read, messages)
		}
		without, _ := storeRate(t, alone, messages)
		ratios = append(ratios, with/without)
	}
	slices.Sort(ratios)
	hold(t, bar.Bar{Name: "stored messages with a follower of the changelog, rate", Value: ratios[len(ratios)/2], Reference: "without one", Base: 1, Least: 0.7})
}

// follow reads the changelog until ctx has ended and everything was read. It counts what it reads.
func follow(ctx context.Context, s *sqlite.Store, at int64, read *int64) error {
	passed := at
	for {
		over := ctx.Err() != nil
		changes, err := s.ReadChanges(context.Background(), at, 1000)
		if err != nil {
			return err
		}
		if len(changes) > 0 {
			at = changes[len(changes)-1].Position
			*read += int64(len(changes))
		} else if over {
			return s.PassChanges(context.Background(), "perf", at)
		}
		if at-passed >= 2000 {
			if err := s.PassChanges(context.Background(), "perf", at); err != nil {
				return err
			}
			passed = at
		}
		if len(changes) < 1000 {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

// TestSearchCost compares a page of hits with a SELECT of the same messages.
func TestSearchCost(t *testing.T) {
	messages := scale(10_000_000)
	path := filepath.Join(t.TempDir(), "history.db")
	s := openSearch(t, path)
	must(t, s.ExecWriter("PRAGMA synchronous = OFF"))
	drafts := make([]history.Draft, 0, 2000)
	for n := 0; n < messages; {
		drafts = drafts[:0]
		for range min(cap(drafts), messages-n) {
			text := fmt.Sprintf(`{"text":"parcel %d of %d has not arrived, says word%d"}`, n, n%997, rand.IntN(5000))
			drafts = append(drafts, history.Draft{RoomID: perfRoom(n % 1000), UserID: "ann", Message: []byte(text)})
			n++
		}
		_, err := s.Append(t.Context(), drafts)
		must(t, err)
	}
	began := time.Now()
	for {
		f, err := s.Search(t.Context(), history.SearchQuery{Text: fmt.Sprint("parcel ", messages-1)})
		must(t, err)
		if len(f.Hits) == 1 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("%d messages were in the index %v after the last was stored", messages, time.Since(began).Round(time.Millisecond))
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	// 111 words begin with "word17". More words begin with "word1" than are looked up one by one.
	for text, most := range map[string]float64{"parcel": 5, "parcel has": 5, "p": 5, "parc": 5, "word17": 30, "says word17": 30, "word1": 30} {
		var found history.Found
		m := medians(t, 30, func() (err error) {
			found, err = s.Search(t.Context(), history.SearchQuery{Text: text})
			return err
		}, func() error {
			for _, hit := range found.Hits {
				var message string
				if err := db.QueryRow("SELECT message FROM messages WHERE id = (SELECT id FROM rooms WHERE room_id = ?) << 32 | ?", hit.Message.RoomID, hit.Message.Seq).Scan(&message); err != nil {
					return err
				}
			}
			return nil
		})
		hold(t, bar.Bar{Name: fmt.Sprintf("%d hits for %q among %d messages", len(found.Hits), text, messages), Value: m[0], Unit: "µs",
			Reference: "a SELECT for each of them", Base: m[1], Most: most})
	}
}

// TestRetentionCost compares sending while old messages are deleted with sending while none are.
func TestRetentionCost(t *testing.T) {
	s := open(t).(*sqlite.Store)
	old := scale(5_000_000)
	must(t, s.ExecWriter("PRAGMA synchronous = OFF"))
	drafts := make([]history.Draft, 2000)
	for n := 0; n < old; n += len(drafts) {
		for i := range drafts {
			drafts[i] = history.Draft{RoomID: fmt.Sprint("old-", i%200), UserID: "ann", Message: []byte(`{"text":"the parcel has not arrived and the page says that it was handed over"}`)}
		}
		_, err := s.Append(t.Context(), drafts)
		must(t, err)
	}
	must(t, s.ExecWriter("PRAGMA synchronous = FULL"))
	before := time.Now().Add(time.Hour)
	sent := scale(100_000)
	_, alone := storeRate(t, s, sent)
	// The newest message of each room stays, so that this goes on as long as the sending.
	ended := make(chan error)
	ctx, stop := context.WithCancel(t.Context())
	pruned := 0
	go func() {
		for n := 0; n == 0 || ctx.Err() == nil; n++ {
			p, err := s.Prune(context.Background(), history.PruneRule{Room: fmt.Sprint("old-", n%200), Before: before})
			if err != nil {
				ended <- err
				return
			}
			pruned += p.Messages
			time.Sleep(10 * time.Millisecond)
		}
		ended <- nil
	}()
	_, during := storeRate(t, s, sent)
	stop()
	must(t, <-ended)
	if pruned == 0 {
		t.Error("nothing was deleted")
	}
	t.Logf("%d messages were deleted meanwhile", pruned)
	p99 := func(took []time.Duration) float64 { return float64(took[len(took)*99/100].Microseconds()) }
	hold(t, bar.Bar{Name: "a message is stored while old ones are deleted, p99", Value: p99(during), Unit: "µs", Reference: "while none are", Base: p99(alone), Most: 2})
}
