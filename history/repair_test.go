package history_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

// The bus brings number 3 and not number 2.
func TestRepairGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := historytest.NewNetwork(historytest.Faults{})
		store, seen := history.NewMemory(), new(observer)
		log := history.NewLog(store, &history.LogOptions{Bus: network, Observer: seen})
		defer log.Close()
		var a listener
		a.open(t, log, "r", history.OpenOptions{})

		messages := put(t, store, "r", 3)
		network.Publish(&messages[0])
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		network.Publish(&messages[2])
		network.Publish(&messages[2])
		time.Sleep(14 * time.Millisecond)
		synctest.Wait()
		a.wantLive(t, 1, 1)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		a.wantLive(t, 1, 3)
		if seen.repaired != 2 {
			t.Errorf("%d messages repaired", seen.repaired)
		}

		// In time, the missing one needs no repair.
		messages = put(t, store, "r", 2)
		network.Publish(&messages[1])
		time.Sleep(10 * time.Millisecond)
		network.Publish(&messages[0])
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		a.wantLive(t, 1, 5)
		time.Sleep(time.Second)
		synctest.Wait()
		if seen.repaired != 2 {
			t.Errorf("%d messages repaired, one of them was there", seen.repaired)
		}
	})
}

// Nothing follows the last message to show that it was lost; the audit finds out, with
// one query for all rooms.
func TestAudit(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		queries := 0
		var a, b listener
		a.open(t, log, "a", history.OpenOptions{})
		b.open(t, log, "b", history.OpenOptions{})
		store.hook(hooks{heads: func(rooms []string) (map[string]int64, error) {
			slices.Sort(rooms)
			if !slices.Equal(rooms, []string{"a", "b"}) {
				t.Errorf("audit of %v", rooms)
			}
			queries++
			if queries == 1 {
				return nil, errDisk
			}
			return store.Store.Heads(context.Background(), rooms)
		}})
		put(t, store, "a", 1200) // more than a query brings
		put(t, store, "b", 1)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 1200)
		b.wantLive(t, 1, 1)
		if queries != 2 {
			t.Errorf("%d queries in 11 s", queries)
		}
	})
}

// A read that fails is tried again by the audit.
func TestRepairFails(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		reads := 0
		store.hook(hooks{changes: func(string, int64, int) (history.Slice, error) { reads++; return history.Slice{}, errDisk }})
		put(t, store, "r", 1)
		mustAppend(t, log, "r", 1)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if reads != 1 {
			t.Errorf("read %d times", reads)
		}
		store.hook(hooks{})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 2)
	})
}

// What is missing was pruned: the room goes on after it.
func TestRepairPruned(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		store.hook(hooks{changes: func(room string, since int64, limit int) (history.Slice, error) {
			s, err := store.Store.Changes(context.Background(), room, since, limit)
			if s.Floor = 2; since < s.Floor {
				return history.Slice{Head: s.Head, Floor: 2}, history.ErrPruned
			}
			return s, err
		}})
		put(t, store, "r", 3)
		mustAppend(t, log, "r", 1)
		time.Sleep(time.Second)
		synctest.Wait()
		a.wantLive(t, 3, 4)
	})
}

// The bus tells of a message that the store does not have: it is not believed.
func TestRepairForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := historytest.NewNetwork(historytest.Faults{})
		store := &hooked{Store: history.NewMemory()}
		log := history.NewLog(store, &history.LogOptions{Bus: network})
		defer log.Close()
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		reads := 0
		store.hook(hooks{changes: func(room string, since int64, limit int) (history.Slice, error) {
			reads++
			return store.Store.Changes(context.Background(), room, since, limit)
		}})
		network.Publish(&history.Message{RoomID: "r", Seq: 7})
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if reads != 1 {
			t.Errorf("read %d times", reads)
		}
		mustAppend(t, log, "r", 7)
		synctest.Wait()
		a.wantLive(t, 1, 7)
		if m := a.live[6].Message; string(m.Message) != "6" {
			t.Errorf("number 7 is the forged one: %+v", m)
		}
	})
}

// While the bus is down rooms open, local messages arrive at once and those of other
// nodes with the audit; then it is subscribed to again.
func TestBusOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := historytest.NewNetwork(historytest.Faults{})
		network.SetDown(true)
		store := history.NewMemory()
		here := history.NewLog(store, &history.LogOptions{Bus: network, Logger: quiet})
		there := history.NewLog(store, &history.LogOptions{Bus: network, Logger: quiet})
		defer here.Close()
		defer there.Close()
		var a listener
		a.open(t, here, "r", history.OpenOptions{})
		mustAppend(t, here, "r", 1)
		mustAppend(t, there, "r", 1)
		synctest.Wait()
		a.wantLive(t, 1, 1)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 2)

		network.SetDown(false)
		time.Sleep(5 * time.Second)
		mustAppend(t, there, "r", 1)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		a.wantLive(t, 1, 3)
		if active, ever := network.Subscriptions(); active != 1 || ever != 1 {
			t.Errorf("%d of %d subscriptions", active, ever)
		}
	})
}

// A client comes from a node that is ahead of this one.
func TestOpenAheadOfTail(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a, b listener
		a.open(t, log, "r", history.OpenOptions{})
		put(t, store, "r", 4) // elsewhere; this node has yet to hear of it
		b.open(t, log, "r", history.OpenOptions{Epoch: store.Epoch(), Since: 3})
		b.wantPage(t, 4, 4, false)
		a.wantLive(t, 1, 0)
		// The tail catches up at once, not with the audit; b gets nothing twice.
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		mustAppend(t, log, "r", 1)
		synctest.Wait()
		a.wantLive(t, 1, 5)
		b.wantLive(t, 5, 5)
	})
}

// Subscribers that are slow to take messages do not slow the senders, and what piles
// up is bounded: the rest is read from the store when they are ready.
func TestSlowRoom(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		const messages = 5000
		var a listener
		first := true
		a.then = func(*history.Live) {
			if first {
				first = false
				time.Sleep(time.Second)
			}
		}
		a.open(t, log, "r", history.OpenOptions{})
		start := time.Now()
		mustAppend(t, log, "r", messages)
		if took := time.Since(start); took != 0 {
			t.Errorf("the senders waited %v", took)
		}
		time.Sleep(900 * time.Millisecond)
		if queued := history.Queued(log, "r"); queued > 3000 {
			t.Errorf("%d messages wait", queued)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, messages)
	})
}
