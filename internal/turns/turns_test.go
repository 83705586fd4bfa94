package turns_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/turns"
)

var inA = turns.Client{Group: "a"}

// table is a queue for one thing, which the test has taken.
type table struct {
	*turns.Queue[int]
	served []string // whose turn it was, in order
}

func lay(t *testing.T, limit int) *table {
	q := &table{Queue: turns.New(limit, 1)}
	if thing, err := q.Take(t.Context(), turns.Client{}); thing != 1 || err != nil {
		t.Fatalf("took %d, %v", thing, err)
	}
	return q
}

// wait begins to wait for a thing. It is not given back.
func (q *table) wait(ctx context.Context, group, id string) {
	q.waitFor(ctx, turns.Client{Group: group, ID: id})
}

func (q *table) waitFor(ctx context.Context, c turns.Client) {
	go func() {
		if thing, err := q.Take(ctx, c); err == nil {
			q.served = append(q.served, fmt.Sprint(c.Group, c.ID, thing))
		}
	}()
	synctest.Wait()
}

func (q *table) give(n int) {
	for range n {
		q.Give(1)
		synctest.Wait()
	}
}

func (q *table) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(q.served, want) {
		t.Errorf("served %v, want %v", q.served, want)
	}
	if n := q.Waiting(); n != 0 || turns.Groups(q.Queue) != 0 {
		t.Errorf("%d wait, in %d groups", n, turns.Groups(q.Queue))
	}
}

// One client of one group wants much, and many others come after it.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := lay(t, 9)
		ctx := t.Context()
		for range 4 {
			q.wait(ctx, "a", "1-")
		}
		for _, id := range []string{"2-", "3-"} {
			q.wait(ctx, "a", id)
			q.wait(ctx, "a", id)
		}
		q.wait(ctx, "b", "1-")
		q.wait(ctx, "c", "1-")
		q.wait(ctx, "c", "1-")
		q.wait(ctx, "", "")
		q.give(2)
		q.wait(ctx, "b", "2-") // b goes to the end only after its turn
		q.give(11)
		q.want(t, "1", "a1-1", "b1-1", "c1-1", "a2-1", "b2-1", "c1-1", "a3-1", "a1-1", "a2-1", "a3-1", "a1-1", "a1-1")
	})
}

// Who has had much lets others of its group go first, but not for ever.
func TestDebts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := lay(t, 9)
		ctx := t.Context()
		for range 2 {
			q.waitFor(ctx, turns.Client{Group: "a", ID: "greedy-", Debt: 8 * time.Second})
		}
		q.waitFor(ctx, turns.Client{Group: "a", ID: "other-", Debt: 2 * time.Second})
		time.Sleep(time.Second)
		q.wait(ctx, "a", "1-")
		time.Sleep(2 * time.Second)
		q.wait(ctx, "a", "2-")
		q.wait(ctx, "b", "1-")
		q.give(5)
		time.Sleep(6 * time.Second)
		q.wait(ctx, "a", "3-")
		q.waitFor(ctx, turns.Client{Group: "a", ID: "other-", Debt: 7 * time.Second})
		q.give(3)
		q.want(t, "a1-1", "b1-1", "aother-1", "a2-1", "agreedy-1", "a3-1", "agreedy-1", "aother-1")
	})
}

// A client's line is bounded, and others do not feel it.
func TestFullLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := lay(t, 2)
		q.wait(t.Context(), "a", "1-")
		q.wait(t.Context(), "a", "1-")
		if _, err := q.Take(t.Context(), turns.Client{Group: "a", ID: "1-"}); !errors.Is(err, turns.ErrFull) {
			t.Errorf("error %v", err)
		}
		q.wait(t.Context(), "a", "2-")
		q.give(3)
		q.want(t, "a1-1", "a2-1", "a1-1")
	})
}

// Whoever gives up leaves the line.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := lay(t, 9)
		ctx, cancel := context.WithCancel(t.Context())
		for _, group := range []string{"a", "b", ""} {
			q.wait(ctx, group, "")
			q.wait(ctx, group, "")
		}
		q.wait(t.Context(), "b", "")
		if n := q.Waiting(); n != 7 {
			t.Errorf("%d wait", n)
		}
		cancel()
		synctest.Wait()
		if n, groups := q.Waiting(), turns.Groups(q.Queue); n != 1 || groups != 2 {
			t.Errorf("%d wait, in %d places", n, groups)
		}
		q.give(1)
		q.want(t, "b1")
		if _, err := q.Take(ctx, inA); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		// The turn comes at the moment at which the waiter gives up.
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			q.wait(ctx, "a", "")
			go cancel()
			q.give(1)
			if len(q.served) == 1 { // it gave up
				thing, err := q.Take(t.Context(), inA)
				if thing != 1 || err != nil {
					t.Fatalf("the thing is lost: %d, %v", thing, err)
				}
			}
			q.served = q.served[:1]
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := turns.New(9, 1, 2)
		for range 2 {
			if _, err := q.Take(t.Context(), inA); err != nil {
				t.Fatal(err)
			}
		}
		failed := make(chan error, 1)
		go func() { _, err := q.Take(t.Context(), inA); failed <- err }()
		synctest.Wait()
		closed := make(chan []int, 1)
		go func() { closed <- q.Close() }()
		if err := <-failed; !errors.Is(err, turns.ErrClosed) {
			t.Errorf("who waited got %v", err)
		}
		if _, err := q.Take(t.Context(), inA); !errors.Is(err, turns.ErrClosed) {
			t.Errorf("who came later got %v", err)
		}
		q.Give(3)
		synctest.Wait()
		if len(closed) > 0 {
			t.Error("closed while one was lent")
		}
		q.Give(4)
		if things := <-closed; len(things) != 2 {
			t.Errorf("closed with %v", things)
		}
	})
}

// However clients come, go and give up, each thing is lent to one at a time and none is lost.
func TestStress(t *testing.T) {
	const things, clients, times = 3, 20, 200
	var all []*atomic.Int32 // how many have it
	for range things {
		all = append(all, new(atomic.Int32))
	}
	q := turns.New(2, all...)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			for range times {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(100))*time.Microsecond)
				thing, err := q.Take(ctx, turns.Client{Group: fmt.Sprint(i % 3), ID: fmt.Sprint(i % 7), Debt: time.Duration(rand.IntN(100))})
				if err == nil {
					if thing.Add(1) != 1 {
						t.Error("lent to two at once")
					}
					thing.Add(-1)
					q.Give(thing)
				}
				cancel()
			}
		})
	}
	group.Wait()
	if n := len(q.Close()); n != things || q.Waiting() != 0 || turns.Groups(q) != 0 {
		t.Errorf("%d things are left, %d wait", n, q.Waiting())
	}
}
