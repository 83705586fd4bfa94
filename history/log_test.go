package history_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

// inLog runs f in a synctest bubble with a log over a memory store.
func inLog(t *testing.T, opt *history.LogOptions, f func(t *testing.T, log *history.Log, store *hooked)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := &hooked{Store: history.NewMemory()}
		var o history.LogOptions
		if opt != nil {
			o = *opt
		}
		o.Logger = quiet
		log := history.NewLog(store, &o)
		defer log.Close()
		f(t, log, store)
	})
}

func mustAppend(t *testing.T, log *history.Log, room string, n int) {
	t.Helper()
	for i := range n {
		if _, err := log.Append(context.Background(), draft(room, i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenThenLive(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, _ *hooked) {
		mustAppend(t, log, "r", 60)
		var a, b listener
		sub := a.open(t, log, "r", history.OpenOptions{})
		a.wantPage(t, 11, 60, false)
		if !a.opened[0].HasMore {
			t.Error("it does not say that there is more")
		}
		b.open(t, log, "r", history.OpenOptions{Limit: history.Limit{Messages: 2}})
		b.wantPage(t, 59, 60, false)
		mustAppend(t, log, "other", 1)
		mustAppend(t, log, "r", 5)
		synctest.Wait()
		a.wantLive(t, 61, 65)
		b.wantLive(t, 61, 65)
		if a.live[0] != b.live[0] {
			t.Error("the two got a message each and don't share it")
		}

		// Miss two messages, then come back.
		sub.Close()
		sub.Close()
		mustAppend(t, log, "r", 2)
		a.open(t, log, "r", history.OpenOptions{Epoch: a.opened[0].Epoch, Since: 65})
		a.wantPage(t, 66, 67, false)
		a.live = nil
		mustAppend(t, log, "r", 1)
		synctest.Wait()
		a.wantLive(t, 68, 68)
		b.wantLive(t, 61, 68)
	})
}

func TestOpenEmptyRoom(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, _ *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{}).Close()
		a.wantPage(t, 1, 0, false)
		if a.opened[0].Messages == nil {
			t.Error("messages are null in JSON")
		}
		// The subscriber comes back to the room, which was empty when it left.
		mustAppend(t, log, "r", 3)
		a.open(t, log, "r", history.OpenOptions{Epoch: a.opened[0].Epoch, Since: 0})
		a.wantPage(t, 1, 3, false)
	})
}

func TestOpenReset(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		put(t, store, "r", 600)
		for why, o := range map[string]history.OpenOptions{
			"another epoch":                   {Epoch: "other", Since: 598},
			"ahead of the store":              {Epoch: store.Epoch(), Since: 601},
			"too long ago":                    {Epoch: store.Epoch(), Since: 99},
			"a number that no room ever gave": {Epoch: store.Epoch(), Since: -1},
		} {
			var a listener
			a.open(t, log, "r", o)
			t.Log(why)
			a.wantPage(t, 551, 600, true)
		}
		var a listener
		a.open(t, log, "r", history.OpenOptions{Epoch: store.Epoch(), Since: 100})
		a.wantPage(t, 101, 600, false)

		store.hook(hooks{changes: func(string, int64, history.Limit) (history.Slice, error) {
			return history.Slice{Head: 600, Floor: 590}, history.ErrPruned
		}})
		a.open(t, log, "r", history.OpenOptions{Epoch: store.Epoch(), Since: 580})
		a.wantPage(t, 551, 600, true)
	})
}

// A subscriber that comes back gets no more bytes at once than it asks for. It reads on up to where
// live messages begin, and it is only reset if it missed too many messages.
func TestOpenInPieces(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		mustAppend(t, log, "r", 40)
		size := put(t, store, "size", 1)[0]
		var a listener
		o := history.OpenOptions{Epoch: store.Epoch(), Since: 10, Limit: history.Limit{Messages: 5, Bytes: 12 * size.Size()}}
		a.open(t, log, "r", o)
		opened := a.opened[0]
		if n := len(opened.Messages); n != 12 || opened.Messages[0].Seq != 11 || opened.LastSeq != 40 || !opened.HasMore || opened.Reset {
			t.Errorf("%d messages up to %d, more %v, reset %v", n, opened.LastSeq, opened.HasMore, opened.Reset)
		}
		mustAppend(t, log, "r", 2)
		synctest.Wait()
		a.wantLive(t, 41, 42)

		o.Since = 31
		a.open(t, log, "r", o)
		a.wantPage(t, 32, 42, false)
		if a.opened[1].HasMore {
			t.Error("says that there is more")
		}
		mustAppend(t, log, "r", 470)
		o.Since = 12 // 500 ago
		a.open(t, log, "r", o)
		if opened := a.opened[2]; opened.Reset || !opened.HasMore || len(opened.Messages) == 0 || opened.Messages[0].Seq != 13 {
			t.Errorf("500 messages ago: %d messages, more %v, reset %v", len(opened.Messages), opened.HasMore, opened.Reset)
		}
		o.Since = 11
		a.open(t, log, "r", o)
		a.wantPage(t, 508, 512, true)
	})
}

// A repair reads many bytes in pieces.
func TestRepairInPieces(t *testing.T) {
	inLog(t, &history.LogOptions{Bus: lossy()}, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		reads := 0
		store.hook(hooks{changes: func(room string, since int64, l history.Limit) (history.Slice, error) {
			reads++
			s, err := store.Store.Changes(context.Background(), room, since, l)
			bytes := 0
			for i := range s.Messages {
				bytes += s.Messages[i].Size()
			}
			if bytes > history.DefaultBytes {
				t.Errorf("%d bytes in one read", bytes)
			}
			return s, err
		}})
		big := draft("r", 0)
		big.Message = []byte(`"` + strings.Repeat("x", 60_000) + `"`)
		for range 30 {
			if _, err := store.Append(context.Background(), []history.Draft{big}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 30)
		if reads < 4 {
			t.Errorf("%d reads", reads)
		}
	})
}

// Reading a page takes time. Messages that arrive meanwhile follow the page.
func TestOpenWhileMessagesArrive(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		mustAppend(t, log, "r", 3)
		reads := 0
		store.hook(hooks{history: func(room string, p history.Page) (history.Slice, error) {
			reads++
			s, err := store.Store.History(context.Background(), room, p)
			if reads == 1 {
				mustAppend(t, log, "r", 4) // after the page was read, before it is passed on
				synctest.Wait()
			}
			return s, err
		}})
		a := listener{}
		a.open(t, log, "r", history.OpenOptions{})
		a.wantPage(t, 1, 3, false)
		a.wantLive(t, 4, 7)
		if reads != 1 {
			t.Errorf("%d reads", reads)
		}
	})
}

// If more messages arrive than the buffer holds, or larger ones, the page is read again.
func TestOpenOverflow(t *testing.T) {
	for name, arrive := range map[string]struct {
		append      func(t *testing.T, log *history.Log, room string, n int)
		messages    int
		first, last int64 // of the page that is read again
	}{
		"many":  {mustAppend, 1100, 1051, 1100},
		"large": {mustAppendLarge, 80, 73, 80},
	} {
		t.Run(name, func(t *testing.T) {
			inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
				reads, flood := 0, 1
				store.hook(hooks{history: func(room string, p history.Page) (history.Slice, error) {
					s, err := store.Store.History(context.Background(), room, p)
					if reads++; reads <= flood {
						arrive.append(t, log, "r", arrive.messages)
						synctest.Wait()
					}
					return s, err
				}})
				var a, b listener
				a.open(t, log, "r", history.OpenOptions{}).Close()
				a.wantPage(t, arrive.first, arrive.last, false)
				if reads != 2 || len(a.live) != 0 {
					t.Errorf("%d reads, %d live", reads, len(a.live))
				}
				flood = 1 << 30
				_, err := log.Open(context.Background(), "r", history.OpenOptions{}, &b, b.ready)
				if !errors.Is(err, history.ErrUnavailable) || len(b.opened)+len(b.live) != 0 {
					t.Errorf("error %v after %d, %d", err, len(b.opened), len(b.live))
				}
				if n := history.OpenRooms(log); n != 0 {
					t.Errorf("%d rooms are still open", n)
				}
			})
		})
	}
}

// Nothing is delivered before ready has returned.
func TestReadyIsFirst(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		var done atomic.Bool
		a.then = func(*history.Live) {
			if !done.Load() {
				t.Error("a live message before the page")
			}
		}
		_, err := log.Open(context.Background(), "r", history.OpenOptions{}, &a, func(history.Opened) {
			mustAppend(t, log, "r", 1) // does not wait for ready
			for range 1000 {
				runtime.Gosched()
			}
			done.Store(true)
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.wantLive(t, 1, 1)
	})
}

func TestOpenFails(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		open := func(ctx context.Context, room string) error {
			_, err := log.Open(ctx, room, history.OpenOptions{}, &a, a.ready)
			if n := history.OpenRooms(log); err != nil && n != 0 {
				t.Errorf("after %v %d rooms are open", err, n)
			}
			return err
		}
		if err := open(context.Background(), ""); !errors.Is(err, history.ErrBadRoom) {
			t.Errorf("no room: %v", err)
		}
		store.hook(hooks{history: func(string, history.Page) (history.Slice, error) { return history.Slice{}, errDisk }})
		if err := open(context.Background(), "r"); !errors.Is(err, errDisk) {
			t.Errorf("history fails: %v", err)
		}
		store.hook(hooks{heads: func([]string) (map[string]int64, error) { time.Sleep(time.Second); return nil, errDisk }})
		if err := open(context.Background(), "r"); !errors.Is(err, errDisk) {
			t.Errorf("heads fails: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := open(ctx, "r"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("gives up: %v", err)
		}
		time.Sleep(time.Second)
		store.hook(hooks{})
		if err := open(context.Background(), "r"); err != nil {
			t.Errorf("when the store works again: %v", err)
		}
		log.Close()
		if err := open(context.Background(), "r"); !errors.Is(err, history.ErrClosed) {
			t.Errorf("after close: %v", err)
		}
		if _, err := log.Append(context.Background(), draft("r", 1)); !errors.Is(err, history.ErrClosed) {
			t.Errorf("append after close: %v", err)
		}
	})
}

func TestAppend(t *testing.T) {
	inLog(t, &history.LogOptions{MaxMessage: 100}, func(t *testing.T, log *history.Log, store *hooked) {
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		d := draft("r", 1)
		d.ClientID = "c"
		first, err := log.Append(context.Background(), d)
		if err != nil || first.Dup {
			t.Fatalf("got %+v, %v", first, err)
		}
		again, err := log.Append(context.Background(), d)
		if err != nil || !again.Dup || again.Message.ID != first.Message.ID {
			t.Errorf("replay: %+v, %v", again, err)
		}
		d.Message = []byte("2")
		if _, err := log.Append(context.Background(), d); !errors.Is(err, history.ErrKeyReuse) {
			t.Errorf("the id of another message: %v", err)
		}
		d.Message = []byte(`"` + strings.Repeat("x", 99) + `"`)
		if _, err := log.Append(context.Background(), d); !errors.Is(err, history.ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		store.hook(hooks{append: func([]history.Draft) ([]history.Appended, error) { return nil, history.ErrUnavailable }})
		if _, err := log.Append(context.Background(), draft("r", 1)); !errors.Is(err, history.ErrUnavailable) {
			t.Errorf("the store refuses: %v", err)
		}
		synctest.Wait()
		a.wantLive(t, 1, 1)
		if s, err := log.History(context.Background(), "r", history.Page{}); err != nil || len(s.Messages) != 1 {
			t.Errorf("history: %+v, %v", s, err)
		}
	})
}

// If a sender gives up, its message is still stored.
func TestAppendGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := history.NewLog(slowAppends(), nil)
		defer log.Close()
		var a listener
		a.open(t, log, "r", history.OpenOptions{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, err := log.Append(ctx, draft("r", 1)); !errors.Is(err, history.ErrUnknownOutcome) {
			t.Errorf("error %v", err)
		}
		a.wantLive(t, 1, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		a.wantLive(t, 1, 1)
	})
}

// A subscriber may close subscriptions within Deliver, including its own.
func TestCloseWithinDeliver(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, _ *hooked) {
		const members = 10
		var listeners [members]listener
		var subs [members]*history.Subscription
		for i := range listeners {
			subs[i] = listeners[i].open(t, log, "r", history.OpenOptions{})
		}
		for i := range listeners {
			// At number i+1, member i closes itself and the next member, which may already have
			// received that number.
			listeners[i].then = func(m *history.Live) {
				if m.Message.Seq == int64(i+1) {
					subs[i].Close()
					subs[(i+1)%members].Close()
				}
			}
		}
		mustAppend(t, log, "r", members+2)
		synctest.Wait()
		for i := range listeners {
			got := len(listeners[i].seqs())
			if i%2 == 0 && got != i+1 || i%2 == 1 && got != i && got != i-1 {
				t.Errorf("member %d got %d messages", i, got)
			}
		}
		if n := history.OpenRooms(log); n != 0 {
			t.Errorf("%d rooms are open", n)
		}
	})
}

func TestLeaving(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, store *hooked) {
		var listeners [20]listener
		var subs [20]*history.Subscription
		for i := range listeners {
			subs[i] = listeners[i].open(t, log, "r", history.OpenOptions{})
		}
		for i := range subs {
			mustAppend(t, log, "r", 1)
			synctest.Wait()
			subs[(i*7)%20].Close()
		}
		mustAppend(t, log, "r", 1)
		synctest.Wait()
		for i := range subs {
			listeners[(i*7)%20].wantLive(t, 1, int64(i+1))
		}
		if n := history.OpenRooms(log); n != 0 {
			t.Errorf("%d rooms are open", n)
		}
		store.hook(hooks{heads: func([]string) (map[string]int64, error) { t.Error("audit of no rooms"); return nil, nil }})
		time.Sleep(time.Minute)
	})
}

func TestLogClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := historytest.NewNetwork(historytest.Faults{})
		log := history.NewLog(history.NewMemory(), &history.LogOptions{Bus: network})
		var a listener
		sub := a.open(t, log, "r", history.OpenOptions{})
		log.Close()
		log.Close()
		sub.Close()
		if active, ever := network.Subscriptions(); active != 0 || ever != 1 {
			t.Errorf("%d of %d subscriptions to the bus are left", active, ever)
		}
	})
}

// A message is encoded once for each kind of subscriber.
func TestEncodedOnce(t *testing.T) {
	inLog(t, nil, func(t *testing.T, log *history.Log, _ *hooked) {
		var builds atomic.Int32
		var listeners [6]listener
		for i := range listeners {
			kind := i % 2
			listeners[i].then = func(m *history.Live) {
				got := m.Encoded(kind, func(m *history.Message) any { builds.Add(1); return fmt.Sprint(kind, string(m.Message)) })
				if got != fmt.Sprint(kind, "0") {
					t.Errorf("encoded as %v", got)
				}
			}
			listeners[i].open(t, log, "r", history.OpenOptions{})
		}
		mustAppend(t, log, "r", 1)
		synctest.Wait()
		if n := builds.Load(); n != 2 {
			t.Errorf("encoded %d times", n)
		}
	})
}

type counter struct{ n int }

func (c *counter) Deliver(*history.Live) { c.n++ }

// The allocations of a delivery depend on the message, not on the number of receivers.
func TestDeliverAllocations(t *testing.T) {
	log := history.NewLog(history.NewMemory(), nil)
	defer log.Close()
	const members = 10_000
	counters := make([]counter, members)
	for i := range counters {
		if _, err := log.Open(context.Background(), "r", history.OpenOptions{}, &counters[i], func(history.Opened) {}); err != nil {
			t.Fatal(err)
		}
	}
	n := int64(0)
	allocs := testing.AllocsPerRun(50, func() {
		n++
		history.OfferAndWait(log, history.Message{RoomID: "r", Seq: n})
	})
	for i := range counters {
		if counters[i].n != int(n) {
			t.Fatalf("member %d got %d of %d", i, counters[i].n, n)
		}
	}
	if allocs > 10 {
		t.Errorf("%v allocations to deliver one message to %d", allocs, members)
	}
}
