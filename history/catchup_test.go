package history_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
)

// slowListener is a listener whose client takes messages when the test says so.
type slowListener struct {
	listener
	room int // how many messages the client can take until it is behind

	mu       sync.Mutex
	left     int
	drained  []func()
	lost     []error
	caughtUp []int64
}

func newSlow(room int) *slowListener { return &slowListener{room: room, left: room} }

func (l *slowListener) Behind() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left == 0
}

func (l *slowListener) WhenDrained(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drained = append(l.drained, f)
}

func (l *slowListener) Lost(room string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, fmt.Errorf("%s: %w", room, err))
}

func (l *slowListener) Deliver(m *history.Live) {
	l.mu.Lock()
	l.left--
	l.mu.Unlock()
	l.listener.Deliver(m)
}

// losses returns the calls of Lost.
func (l *slowListener) losses() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// take takes what the client was sent.
func (l *slowListener) take() {
	l.mu.Lock()
	l.left = l.room
	drained := l.drained
	l.drained = nil
	l.mu.Unlock()
	for _, f := range drained {
		f()
	}
	synctest.Wait()
}

func (l *slowListener) open(t *testing.T, log *history.Log, room string, o history.OpenOptions) *history.Subscription {
	t.Helper()
	s, err := log.Open(context.Background(), room, o, l, l.ready)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reads counts the pages that a store reads after a position.
func reads(store *hooked) *int {
	n := new(int)
	store.hook(hooks{changes: func(room string, since int64, limit history.Limit) (history.Slice, error) {
		*n++
		return store.Store.Changes(context.Background(), room, since, limit)
	}})
	return n
}

func wantBehind(t *testing.T, log *history.Log, want int) {
	t.Helper()
	if n := log.Behind(); n != want {
		t.Errorf("%d are behind, want %d", n, want)
	}
}

// A subscriber that is behind gets nothing until its client has taken what it had. Then it gets the
// rest, in order and once, and finally live messages again.
func TestBehind(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		slow, fast := newSlow(300), new(listener)
		slow.open(t, log, "r", history.OpenOptions{})
		fast.open(t, log, "r", history.OpenOptions{})
		n := reads(store)
		mustAppend(t, log, "r", 1500)
		synctest.Wait()
		fast.wantLive(t, 1, 1500)
		slow.wantLive(t, 1, 300)
		wantBehind(t, log, 1)
		for at := int64(600); at <= 1200; at += 300 {
			slow.take()
			slow.wantLive(t, 1, at)
		}
		slow.take()
		slow.wantLive(t, 1, 1500) // the client's room is used up exactly
		if *n < 4 || *n > 8 {     // the first pages are small
			t.Errorf("%d reads, want 4 or a few more", *n)
		}
		mustAppend(t, log, "r", 1)
		synctest.Wait()
		slow.wantLive(t, 1, 1500)
		slow.take()
		slow.wantLive(t, 1, 1501)
		wantBehind(t, log, 0)
		*n = 0
		mustAppend(t, log, "r", 100)
		synctest.Wait()
		slow.wantLive(t, 1, 1601)
		if *n > 0 {
			t.Errorf("%d reads for a subscriber that is not behind", *n)
		}
		wantBehind(t, log, 0)
	})
}

// If the client takes everything, one turn after the other reads a page, until nothing is left.
func TestBehindByManyPages(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		slow := newSlow(1)
		slow.open(t, log, "r", history.OpenOptions{})
		n := reads(store)
		mustAppend(t, log, "r", 1801)
		synctest.Wait()
		slow.room = 1 << 30
		slow.take()
		slow.wantLive(t, 1, 1801)
		wantBehind(t, log, 0)
		if *n < 4 || *n > 8 {
			t.Errorf("%d reads, want 4 or a few more", *n)
		}
	})
}

// A page is as large as what clients take of it, and never large.
func TestPagesOfThoseBehind(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		slow := newSlow(1)
		slow.open(t, log, "r", history.OpenOptions{})
		message := []byte(`"` + strings.Repeat("x", 9_998) + `"`)
		for range 200 {
			if _, err := log.Append(context.Background(), history.Draft{RoomID: "r", UserID: "u", Message: message}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		var asked []int
		store.hook(hooks{changes: func(room string, since int64, limit history.Limit) (history.Slice, error) {
			asked = append(asked, limit.Bytes)
			return store.Store.Changes(context.Background(), room, since, limit)
		}})
		for range 10 {
			slow.take()
		}
		slow.wantLive(t, 1, 11)
		if most := slices.Max(asked); most > 32<<10 {
			t.Errorf("pages of %d bytes, for a client that takes 10,000", most)
		}
		slow.room = 1 << 30
		slow.take()
		slow.wantLive(t, 1, 200)
		if most := slices.Max(asked); most != 256<<10 {
			t.Errorf("pages of %d bytes", most)
		}
	})
}

// If a whole room falls behind together, one page serves all, and a message is encoded once.
func TestBehindTogether(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		const members = 100
		var slow [members]*slowListener
		for i := range slow {
			slow[i] = newSlow(10)
			slow[i].open(t, log, "r", history.OpenOptions{})
		}
		n := reads(store)
		mustAppend(t, log, "r", 50)
		synctest.Wait()
		block := make(chan bool)
		store.hook(hooks{changes: func(room string, since int64, limit history.Limit) (history.Slice, error) {
			*n++
			<-block
			return store.Store.Changes(context.Background(), room, since, limit)
		}})
		for _, l := range slow {
			l.room = 100
			l.take()
			l.wantLive(t, 1, 10)
		}
		mustAppend(t, log, "r", 3) // while the page is read
		close(block)
		synctest.Wait()
		for _, l := range slow {
			l.wantLive(t, 1, 53)
			if l.live[40] != slow[0].live[40] {
				t.Error("two got a message each and don't share it")
			}
		}
		wantBehind(t, log, 0)
		if *n != 1 {
			t.Errorf("%d reads, want 1", *n)
		}
	})
}

// However many rooms have subscribers that are behind, at most two pages are read at a time, and
// the rooms take turns.
func TestTurns(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		const rooms, pages = 20, 3
		var mu sync.Mutex
		reading, most := 0, 0
		turns := map[string]int{}
		store.hook(hooks{changes: func(room string, since int64, limit history.Limit) (history.Slice, error) {
			mu.Lock()
			reading++
			most = max(most, reading)
			turns[room]++
			for other, n := range turns {
				if other != room && n < turns[room]-1 {
					t.Errorf("turn %d of %s, %d of %s", turns[room], room, n, other)
				}
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			reading--
			mu.Unlock()
			return store.Store.Changes(context.Background(), room, since, limit)
		}})
		var slow [rooms]*slowListener
		for i := range slow {
			room := fmt.Sprint("r", i)
			mu.Lock()
			turns[room] = 0
			mu.Unlock()
			slow[i] = newSlow(1)
			slow[i].open(t, log, room, history.OpenOptions{})
			put(t, store, room, 1+history.MaxLimit*pages)
			mustAppend(t, log, room, 1)
		}
		time.Sleep(time.Second) // the log repairs what it has not published
		mu.Lock()
		for room := range turns {
			turns[room] = 0
		}
		most = 0
		mu.Unlock()
		for _, l := range slow {
			l.room = 1 << 30
			l.mu.Lock()
			l.left = l.room
			l.mu.Unlock()
		}
		for _, l := range slow {
			l.drained[0]()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, l := range slow {
			l.wantLive(t, 1, 2+history.MaxLimit*pages)
		}
		mu.Lock()
		defer mu.Unlock()
		if most != 2 {
			t.Errorf("%d reads at a time", most)
		}
	})
}

// forWhom is a store that records for whom it reads pages.
type forWhom struct {
	history.Store
	mu      sync.Mutex
	clients []history.Client
}

func (s *forWhom) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	s.mu.Lock()
	s.clients = append(s.clients, history.ClientOf(ctx))
	s.mu.Unlock()
	return s.Store.Changes(ctx, room, since, l)
}

// What is read for a room's subscribers takes turns with what clients ask for. It does not go first.
func TestReadsForRoomsTakeTurns(t *testing.T) {
	inLog(t, &history.LogOptions{Bus: lossy()}, func(t *testing.T, log *history.Log, store *hooked) {
		record := &forWhom{Store: store.Store}
		store.Store = record
		slow, fast := newSlow(1), new(listener)
		slow.open(t, log, "behind", history.OpenOptions{})
		fast.open(t, log, "repaired", history.OpenOptions{})
		mustAppend(t, log, "behind", 2)
		synctest.Wait()
		slow.take()
		put(t, record.Store, "repaired", 1)
		time.Sleep(time.Minute) // the audit finds it
		slow.wantLive(t, 1, 2)
		fast.wantLive(t, 1, 1)
		record.mu.Lock()
		defer record.mu.Unlock()
		want := []history.Client{{Address: "rooms", ID: "behind"}, {Address: "rooms", ID: "repaired"}}
		if !slices.Equal(record.clients, want) {
			t.Errorf("reads for %+v, want %+v", record.clients, want)
		}
	})
}

// A failed read is repeated. If reads fail for too long, the subscriber is told.
func TestBehindWhenTheStoreFails(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		slow, other := newSlow(1), newSlow(1)
		slow.open(t, log, "r", history.OpenOptions{})
		other.open(t, log, "r", history.OpenOptions{})
		mustAppend(t, log, "r", 3)
		synctest.Wait()
		broken := hooks{changes: func(string, int64, history.Limit) (history.Slice, error) { return history.Slice{}, errDisk }}
		store.hook(broken)
		slow.take()
		time.Sleep(9500 * time.Millisecond)
		mustAppend(t, log, "r", 1)
		store.hook(hooks{})
		time.Sleep(time.Second)
		slow.wantLive(t, 1, 2)
		store.hook(broken)
		slow.take()
		time.Sleep(9500 * time.Millisecond)
		synctest.Wait()
		if len(slow.losses()) > 0 {
			t.Errorf("lost too early: %v", slow.losses())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(slow.losses()) != 1 || !errors.Is(slow.losses()[0], errDisk) || !strings.HasPrefix(slow.losses()[0].Error(), "r: ") {
			t.Errorf("lost: %v", slow.losses())
		}
		wantBehind(t, log, 1) // the other one has not asked for more
		store.hook(hooks{})
		slow.take()
		mustAppend(t, log, "r", 1)
		other.room = 10
		other.take()
		slow.wantLive(t, 1, 2)
		other.wantLive(t, 1, 5)
		if len(other.losses())+len(slow.losses()) != 1 {
			t.Errorf("lost: %v, %v", slow.losses(), other.losses())
		}
		wantBehind(t, log, 0)
	})
}

// What was pruned meanwhile cannot be delivered, and the subscriber is told. Others go on.
func TestBehindWhatIsPruned(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		slow, other := newSlow(1), newSlow(5)
		slow.open(t, log, "r", history.OpenOptions{})
		other.open(t, log, "r", history.OpenOptions{})
		mustAppend(t, log, "r", 9)
		synctest.Wait()
		store.hook(hooks{changes: func(room string, since int64, limit history.Limit) (history.Slice, error) {
			if since < 4 {
				return history.Slice{Head: 9, Floor: 4}, history.ErrPruned
			}
			return store.Store.Changes(context.Background(), room, since, limit)
		}})
		slow.take()
		other.take()
		if len(slow.losses()) != 1 || !errors.Is(slow.losses()[0], history.ErrPruned) {
			t.Errorf("lost: %v", slow.losses())
		}
		slow.wantLive(t, 1, 1)
		other.wantLive(t, 1, 9)
		wantBehind(t, log, 0)
	})
}

// Nothing is left of a subscription that ends while it is behind, at any moment.
func TestCloseWhileBehind(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		end := func(when string, f func(l *slowListener, s *history.Subscription)) {
			l := newSlow(1)
			s := l.open(t, log, when, history.OpenOptions{})
			mustAppend(t, log, when, 3)
			synctest.Wait()
			f(l, s)
			time.Sleep(time.Minute)
			synctest.Wait()
			wantBehind(t, log, 0)
			if n := history.OpenRooms(log); n != 0 || len(l.losses()) > 0 {
				t.Errorf("%s: %d rooms are open, lost %v", when, n, l.losses())
			}
		}
		end("before it has drained", func(l *slowListener, s *history.Subscription) { s.Close(); l.take() })
		end("while the page is read", func(l *slowListener, s *history.Subscription) {
			store.hook(hooks{changes: func(string, int64, history.Limit) (history.Slice, error) {
				s.Close()
				return store.Store.Changes(context.Background(), "while the page is read", 1, history.Limit{})
			}})
			l.take()
			l.wantLive(t, 1, 1)
		})
		end("while reads fail", func(l *slowListener, s *history.Subscription) {
			store.hook(hooks{changes: func(string, int64, history.Limit) (history.Slice, error) { return history.Slice{}, errDisk }})
			l.take()
			time.Sleep(5 * time.Second)
			s.Close()
			store.hook(hooks{})
		})
		end("within Deliver", func(l *slowListener, s *history.Subscription) {
			l.then = func(*history.Live) { s.Close() }
			l.take()
			l.wantLive(t, 1, 2)
		})
		l := newSlow(1)
		l.open(t, log, "r", history.OpenOptions{})
		mustAppend(t, log, "r", 3)
		synctest.Wait()
		log.Close()
		l.take()
		l.wantLive(t, 1, 1)
	})
}

// A subscriber that comes back may read on at its own pace, however much it missed.
func TestReadOn(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		put(t, store, "r", 1200)
		open := func(since int64, epoch string) *slowListener {
			t.Helper()
			l := newSlow(700)
			l.open(t, log, "r", history.OpenOptions{Epoch: epoch, Since: since, CaughtUp: func(upTo int64) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.caughtUp = append(l.caughtUp, upTo, int64(len(l.seqs())))
			}})
			synctest.Wait()
			return l
		}
		want := func(l *slowListener, upTo, after int64) {
			t.Helper()
			l.mu.Lock()
			defer l.mu.Unlock()
			if got := l.caughtUp; len(got) != 2 || got[0] != upTo || got[1] != after {
				t.Errorf("caught up %v, want up to %d after %d messages", got, upTo, after)
			}
		}
		l := open(100, store.Epoch())
		if o := l.opened[0]; o.LastSeq != 100 || o.Messages == nil || len(o.Messages) > 0 || o.Reset || o.Epoch != store.Epoch() {
			t.Errorf("opened: %+v", o)
		}
		l.wantLive(t, 101, 800)
		if len(l.caughtUp) > 0 {
			t.Errorf("caught up %v", l.caughtUp)
		}
		mustAppend(t, log, "r", 10)
		synctest.Wait()
		l.take()
		l.wantLive(t, 101, 1210)
		want(l, 1210, 1110)
		mustAppend(t, log, "r", 900) // behind again
		synctest.Wait()
		l.take()
		l.wantLive(t, 101, 2110)
		want(l, 1210, 1110)

		want(open(2110, store.Epoch()), 2110, 0)
		for why, o := range map[string]history.OpenOptions{
			"another epoch":      {Epoch: "other", Since: 5},
			"ahead of the store": {Epoch: store.Epoch(), Since: 2111},
			"a new one":          {},
		} {
			l := open(o.Since, o.Epoch)
			t.Log(why)
			if opened := l.opened[0]; opened.Reset != (o.Epoch != "") || opened.LastSeq != 2060 {
				t.Errorf("opened: %+v", opened)
			}
			l.wantLive(t, 2061, 2110)
			want(l, 2110, 50)
		}
		// From the earliest message that exists.
		l = open(-1, store.Epoch())
		l.wantLive(t, 1, 700)
		store.hook(hooks{changes: func(room string, since int64, limit history.Limit) (history.Slice, error) {
			if since < 2000 {
				return history.Slice{Head: 2110, Floor: 2000}, history.ErrPruned
			}
			return store.Store.Changes(context.Background(), room, since, limit)
		}})
		l = open(-1, store.Epoch())
		l.wantLive(t, 2001, 2110)
		want(l, 2110, 110)
		for limit, first := range map[int]int64{-1: 2111, 60: 2051, 500: 2001} { // not before the floor
			l = newSlow(700)
			l.open(t, log, "r", history.OpenOptions{Epoch: store.Epoch(), Limit: history.Limit{Messages: limit}, CaughtUp: func(int64) {}})
			synctest.Wait()
			l.wantLive(t, first, 2110)
			if !l.opened[0].Reset {
				t.Errorf("opened: %+v", l.opened[0])
			}
		}

		store.hook(hooks{changes: func(string, int64, history.Limit) (history.Slice, error) { return history.Slice{}, errDisk }})
		_, err := log.Open(context.Background(), "r", history.OpenOptions{Epoch: store.Epoch(), CaughtUp: func(int64) {}}, l, l.ready)
		if !errors.Is(err, errDisk) {
			t.Errorf("the store fails: %v", err)
		}
	})
}
