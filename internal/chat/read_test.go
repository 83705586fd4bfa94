package chat_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// readers is a store that records for whom it reads.
type readers struct {
	history.Store
	mu    sync.Mutex
	first history.Client // after it was reset
	last  history.Client
}

func (s *readers) note(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = history.ClientOf(ctx)
	s.first = cmp.Or(s.first, s.last)
}

func (s *readers) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	s.note(ctx)
	return s.Store.History(ctx, room, p)
}

func (s *readers) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	s.note(ctx)
	return s.Store.Changes(ctx, room, since, l)
}

// fill stores messages that count as so many bytes each.
func fill(t *testing.T, store history.Store, room string, messages, size int) {
	t.Helper()
	drafts := make([]history.Draft, messages)
	for i := range drafts {
		drafts[i] = history.Draft{RoomID: room, UserID: "u", Message: []byte(`"` + strings.Repeat("x", size-204) + `"`)}
	}
	stored, err := store.Append(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	if n := stored[0].Message.Size(); n != size {
		t.Fatalf("messages of %d bytes", n)
	}
}

// Whoever reads more than the budget allows waits for the next read, and gets everything. Others do
// not wait.
func TestReadsWaitForTheirBudget(t *testing.T) {
	const (
		page  = 100_000 // bytes: ten messages
		reads = 9
	)
	var limits budget.Limits
	limits[budget.Reads] = budget.Limit{PerSecond: page, Burst: 3 * page}
	ten, eleven := int64(10), int64(11)
	for name, read := range map[string]func(t *testing.T, c *chat.Client) int{
		"join": func(t *testing.T, c *chat.Client) (n int) {
			err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r", Limit: 10}, func(j chat.Joined) { n = len(j.Messages) })
			if err != nil {
				t.Error(err)
			}
			return n
		},
		"come back": func(t *testing.T, c *chat.Client) (n int) {
			err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r", After: &ten}, func(j chat.Joined) { n = len(j.Messages) })
			if err != nil {
				t.Error(err)
			}
			return n
		},
		"history": func(t *testing.T, c *chat.Client) int {
			got, err := c.History(t.Context(), chat.HistoryRequest{RoomID: "r", Limit: 10, Before: &eleven})
			if err != nil {
				t.Error(err)
			}
			return len(got.Messages)
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := &readers{Store: history.NewMemory()}
			fill(t, store, "r", 20, page/10)
			inLimited(t, store, limits, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
				c, other := s.Connect(&peer{id: "aaaaaaaa", hall: h}), s.Connect(&peer{id: "bbbbbbbb", hall: h})
				defer c.Close()
				defer other.Close()
				if err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "none"}, func(chat.Joined) {}); err != nil {
					t.Fatal(err)
				}
				if err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r", Limit: 1}, func(chat.Joined) {}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				start := time.Now()
				for range reads {
					if n := read(t, c); n != 10 {
						t.Errorf("%d messages", n)
					}
				}
				// The burst is free, the last read is not paid for, and a read costs a bit more than its
				// messages.
				if took := time.Since(start); took < (reads-4-1)*time.Second || took > (reads-3)*time.Second {
					t.Errorf("%d reads took %v", reads, took)
				}
				if d := store.last.Debt; d < 500*time.Millisecond || store.last.ID != "aaaaaaaa" || store.last.Address != "192.0.2.1" {
					t.Errorf("the store read for %+v", store.last)
				}
				if n := s.Stats().Slowed["reads"]; n < reads-5 {
					t.Errorf("slowed %d times", n)
				}
				start = time.Now()
				if err := other.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r"}, func(chat.Joined) {}); err != nil || time.Since(start) != 0 {
					t.Errorf("another client joined after %v, %v", time.Since(start), err)
				}
				// A client that goes does not wait.
				read(t, c)
				ctx, cancel := context.WithCancel(t.Context())
				gone := make(chan error, 1)
				go func() { _, err := c.History(ctx, chat.HistoryRequest{RoomID: "r"}); gone <- err }()
				synctest.Wait()
				if len(gone) > 0 {
					t.Error("it did not wait")
				}
				cancel()
				if err := <-gone; !errors.Is(err, chat.ErrGone) {
					t.Errorf("gone: %v", err)
				}
			})
		})
	}
}

// collector is a Follower whose client takes everything.
type collector struct {
	messages int
	caughtUp chan int // the number of messages then
}

func (f *collector) Opened(chat.Position, bool) {}
func (f *collector) CaughtUp(chat.Position)     { f.caughtUp <- f.messages }
func (f *collector) Deliver(*history.Live)      { f.messages++ }
func (f *collector) Behind() bool               { return false }
func (f *collector) WhenDrained(func())         { panic("it is never behind") }
func (f *collector) Lost(err error)             { panic(err) }

// So does a feed that catches up. Live messages are free.
func TestFeedsWaitForTheirBudget(t *testing.T) {
	var limits budget.Limits
	limits[budget.Reads] = budget.Limit{PerSecond: 100_000, Burst: 300_000}
	store := &readers{Store: history.NewMemory()}
	fill(t, store, "r", 120, 10_000)
	inLimited(t, store, limits, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		ids := map[string]bool{}
		for range 2 {
			start, f := time.Now(), &collector{caughtUp: make(chan int, 1)}
			stop, err := s.Follow(t.Context(), chat.FollowRequest{RoomID: "r", Address: "192.0.2.9", Earliest: true}, f)
			if err != nil {
				t.Fatal(err)
			}
			if n := <-f.caughtUp; n != 120 || time.Since(start) < 7*time.Second || time.Since(start) > 11*time.Second {
				t.Errorf("%d messages after %v", n, time.Since(start))
			}
			stop()
			store.mu.Lock()
			if ids[store.first.ID] || store.first.Address != "192.0.2.9" {
				t.Errorf("the store read for %+v", store.first)
			}
			ids[store.first.ID], store.first = true, history.Client{}
			store.mu.Unlock()
		}
	})
}

// Whoever makes a new connection for each read has no more than the whole address has, and others
// and exempt addresses do not wait for it.
func TestReadsOfAnAddress(t *testing.T) {
	const page = 100_000 // bytes: ten messages
	limits := budget.Limits{
		budget.Reads:        {PerSecond: page, Burst: 3 * page},
		budget.AddressReads: {PerSecond: 2 * page, Burst: 6 * page},
	}
	store := history.NewMemory()
	fill(t, store, "r", 120, page/10)
	inQuotas(t, store, limits, func(t *testing.T, s *chat.Service, _ *exceeded) {
		took := func(from string, reads int) time.Duration {
			start := time.Now()
			for range reads {
				c := s.Connect(&peer{id: "aaaaaaaa", address: from, hall: &hall{members: map[string][]*peer{}}})
				err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r", Limit: 10}, func(j chat.Joined) {
					if len(j.Messages) != 10 {
						t.Errorf("%d messages", len(j.Messages))
					}
				})
				if err != nil {
					t.Errorf("join from %s: %v", from, err)
				}
				c.Close()
			}
			return time.Since(start)
		}
		// The burst is free, and the last read is not paid for.
		if d := took("192.0.2.1:1", 17); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("17 reads took %v", d)
		}
		if n := s.Stats().Slowed["address_reads"]; n < 9 {
			t.Errorf("slowed %d times", n)
		}
		if d := took("192.0.2.2:1", 3) + took("127.0.0.1:1", 17); d != 0 {
			t.Errorf("others waited %v", d)
		}
		// Feeds cost as much. Each alone would take 7 to 11 s.
		time.Sleep(time.Minute)
		start := time.Now()
		var feeds [4]*collector
		for i := range feeds {
			feeds[i] = &collector{caughtUp: make(chan int, 1)}
			stop, err := s.Follow(t.Context(), chat.FollowRequest{RoomID: "r", Address: "192.0.2.1:2", Earliest: true}, feeds[i])
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
		}
		for _, f := range feeds {
			if n := <-f.caughtUp; n != 120 {
				t.Errorf("a feed of %d messages", n)
			}
		}
		if d := time.Since(start); d < 15*time.Second || d > 25*time.Second {
			t.Errorf("%d feeds took %v", len(feeds), d)
		}
	})
}

// If so many connections of an address read at once that some would have to wait too long, these are
// refused.
func TestReadsOfACrowd(t *testing.T) {
	limits := budget.Limits{budget.AddressReads: {PerSecond: 40_000, Burst: 40_000}}
	inQuotas(t, history.NewMemory(), limits, func(t *testing.T, s *chat.Service, _ *exceeded) {
		const crowd = 100
		results := make(chan error, crowd)
		start := time.Now()
		for range crowd {
			c := s.Connect(&peer{id: "aaaaaaaa", hall: &hall{members: map[string][]*peer{}}})
			t.Cleanup(c.Close)
			go func() {
				results <- c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r"}, func(chat.Joined) {})
			}()
		}
		refused := 0
		for range crowd {
			if err := <-results; err != nil {
				wantOver(t, err)
				refused++
			}
		}
		// A read of an empty room costs 4 KiB: ten at once, and ten a second for five seconds.
		if d := time.Since(start); refused < 36 || refused > 45 || d < 4*time.Second || d > 5*time.Second {
			t.Errorf("%d of %d were refused after %v", refused, crowd, d)
		}
		if n := s.Stats().Refused["address_reads"]; n != uint64(refused) {
			t.Errorf("%d refusals were counted", n)
		}
	})
}

// With the budgets of the binary, nobody who scrolls through a history waits for it, however fast.
func TestScrollingIsNotSlowed(t *testing.T) {
	for name, size := range map[string]int{"sentences": 300, "stories": 10_000} {
		t.Run(name, func(t *testing.T) {
			store := history.NewMemory()
			const messages, page = 1000, 50
			fill(t, store, "r", messages, size)
			inLimited(t, store, defaults, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
				c := s.Connect(&peer{id: "aaaaaaaa", hall: h})
				defer c.Close()
				if err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r"}, func(chat.Joined) {}); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				pages := 0
				for before := int64(messages + 1); before > 1; pages++ {
					got, err := c.History(t.Context(), chat.HistoryRequest{RoomID: "r", Before: &before, Limit: page})
					if err != nil || len(got.Messages) == 0 {
						t.Fatalf("before %d: %d messages, %v", before, len(got.Messages), err)
					}
					before = got.Messages[0].Seq
					time.Sleep(100 * time.Millisecond)
				}
				if waited := time.Since(start) - time.Duration(pages)*100*time.Millisecond; waited != 0 {
					t.Errorf("%d pages at ten a second waited %v", pages, waited)
				}
			})
		})
	}
}
