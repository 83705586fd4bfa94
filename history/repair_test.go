package history_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

// The bus delivers number 3 but not number 2.
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

		// If the missing message arrives in time, no repair is needed.
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

// Nothing follows the last message to show that the bus has lost it. The audit finds it. It asks
// for many rooms with one query, but not for too many.
func TestAudit(t *testing.T) {
	const rooms, chunk = 1201, 500
	inLog(t, &history.LogOptions{Bus: lossy()}, func(t *testing.T, log *history.Log, store *hooked) {
		var a, b, others listener
		a.open(t, log, "a", history.OpenOptions{})
		b.open(t, log, "b", history.OpenOptions{})
		for n := range rooms - 2 {
			others.open(t, log, fmt.Sprint("other ", n), history.OpenOptions{})
		}
		queries, asked := 0, map[string]int{}
		store.hook(hooks{heads: func(rooms []string) (map[string]int64, error) {
			if queries++; len(rooms) > chunk {
				t.Errorf("a query for %d rooms", len(rooms))
			}
			for _, room := range rooms {
				asked[room]++
			}
			if queries <= 3 { // all belong to the first audit
				return nil, errDisk
			}
			return store.Store.Heads(context.Background(), rooms)
		}})
		put(t, store, "a", 1200) // more than one query returns
		put(t, store, "b", 1)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 1200)
		b.wantLive(t, 1, 1)
		if queries != 6 || len(asked) != rooms || asked["a"] != 2 {
			t.Errorf("%d queries in 11 s, for %d rooms", queries, len(asked))
		}
	})
}

// A busy room needs no audit, because each message reveals missing ones before it.
func TestAuditOfQuietRooms(t *testing.T) {
	inLog(t, &history.LogOptions{Bus: lossy()}, func(t *testing.T, log *history.Log, store *hooked) {
		var quiet, busy listener
		quiet.open(t, log, "quiet", history.OpenOptions{})
		busy.open(t, log, "busy", history.OpenOptions{})
		var asked []string
		store.hook(hooks{heads: func(rooms []string) (map[string]int64, error) {
			asked = append(asked, rooms...)
			return store.Store.Heads(context.Background(), rooms)
		}})
		for range 3 {
			mustAppend(t, log, "busy", 1)
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		if !slices.Equal(asked, []string{"quiet", "quiet", "quiet"}) {
			t.Errorf("audit of %v", asked)
		}
		// A message lost after the last one is found once the room is quiet.
		mustAppend(t, log, "busy", 1)
		put(t, store, "busy", 1)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		busy.wantLive(t, 1, 5)
	})
}

// Without a bus, nothing can get lost on it, so an open room costs no query.
func TestNoAuditWithoutABus(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		store.hook(hooks{heads: func(rooms []string) (map[string]int64, error) {
			t.Errorf("audit of %v", rooms)
			return nil, nil
		}})
		time.Sleep(time.Hour)
	})
}

// A commit fails with unknown outcome. If the message was stored, everyone who has the room open
// receives it, whatever happens to the sender.
func TestUncertainCommit(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		uncertain := func(stored bool) {
			t.Helper()
			store.hook(hooks{append: func(drafts []history.Draft) ([]history.Appended, error) {
				if stored {
					if _, err := store.Store.Append(context.Background(), drafts); err != nil {
						return nil, err
					}
				}
				return nil, history.ErrUnknownOutcome
			}})
			if _, err := log.Append(context.Background(), draft("r", 1)); !errors.Is(err, history.ErrUnknownOutcome) {
				t.Errorf("append: %v", err)
			}
			store.hook(hooks{})
			time.Sleep(time.Second)
			synctest.Wait()
		}
		uncertain(false)
		a.wantLive(t, 1, 0)
		uncertain(true)
		a.wantLive(t, 1, 1)
		mustAppend(t, log, "r", 1)
		synctest.Wait()
		a.wantLive(t, 1, 2)
	})
}

// lossy returns a bus that delivers nothing.
func lossy() history.Bus { return historytest.NewNetwork(historytest.Faults{Drop: 1}) }

// A failed read is tried again.
func TestRepairFails(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		reads := 0
		store.hook(hooks{changes: func(string, int64, history.Limit) (history.Slice, error) { reads++; return history.Slice{}, errDisk }})
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

// If the missing messages were pruned, the room continues after them.
func TestRepairPruned(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		store.hook(hooks{changes: func(room string, since int64, l history.Limit) (history.Slice, error) {
			s, err := store.Store.Changes(context.Background(), room, since, l)
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

// If the bus delivers a message that the store does not have, the log does not believe it.
func TestRepairForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := historytest.NewNetwork(historytest.Faults{})
		store := &hooked{Store: history.NewMemory()}
		log := history.NewLog(store, &history.LogOptions{Bus: network})
		defer log.Close()
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		reads := 0
		store.hook(hooks{changes: func(room string, since int64, l history.Limit) (history.Slice, error) {
			reads++
			return store.Store.Changes(context.Background(), room, since, l)
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

// While the bus is down, rooms open, local messages arrive at once, and messages of other nodes
// arrive with the audit. Then the log subscribes again.
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
		put(t, store, "r", 4) // on another node; this node does not know of them yet
		b.open(t, log, "r", history.OpenOptions{Epoch: store.Epoch(), Since: 3})
		b.wantPage(t, 4, 4, false)
		a.wantLive(t, 1, 0)
		// The tail catches up at once, without waiting for the audit. b receives nothing twice.
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		mustAppend(t, log, "r", 1)
		synctest.Wait()
		a.wantLive(t, 1, 5)
		b.wantLive(t, 5, 5)
	})
}

// Slow subscribers do not slow down senders, and the backlog is limited, in messages and in bytes: the
// rest is read from the store when the subscribers are ready.
func TestSlowRoom(t *testing.T) {
	for name, room := range map[string]struct {
		append   func(t *testing.T, log *history.Log, room string, n int)
		messages int
		most     int // bytes
	}{
		"many":  {mustAppend, 5000, 1 << 20},
		"large": {mustAppendLarge, 500, 9 << 20}, // 30 MB
	} {
		t.Run(name, func(t *testing.T) {
			inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
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
				room.append(t, log, "r", room.messages)
				if took := time.Since(start); took != 0 {
					t.Errorf("the senders waited %v", took)
				}
				time.Sleep(900 * time.Millisecond)
				if queued, bytes := history.Queued(log, "r"); queued > 3000 || bytes > room.most {
					t.Errorf("%d messages with %d bytes wait", queued, bytes)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				a.wantLive(t, 1, int64(room.messages))
				if queued, bytes := history.Queued(log, "r"); queued+bytes != 0 {
					t.Errorf("in the end %d messages with %d bytes wait", queued, bytes)
				}
			})
		})
	}
}
