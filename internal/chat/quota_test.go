package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// exceeded is a record of the quotas that did not allow a message.
type exceeded struct {
	mu    sync.Mutex
	names []string
}

func (e *exceeded) add(kind budget.Kind, address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names = append(e.names, fmt.Sprint(kind, " of ", address))
}

func (e *exceeded) want(t *testing.T, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if fmt.Sprint(e.names) != fmt.Sprint(want) {
		t.Errorf("exceeded %q, want %q", e.names, want)
	}
	e.names = nil
}

// inQuotas runs f in a synctest bubble, with a service that has quotas.
func inQuotas(t *testing.T, store history.Store, limits budget.Limits, f func(t *testing.T, s *chat.Service, e *exceeded)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := history.NewLog(store, nil)
		defer log.Close()
		var e exceeded
		f(t, chat.New(store, log, chat.Options{
			PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, Timeout: time.Second,
			Announcer: &hall{members: map[string][]*peer{}},
			Budgets:   limits, ExemptAddresses: address.Loopback, OverQuota: e.add,
		}), &e)
	})
}

// connect returns a connection from an address, which is in rooms.
func connect(t *testing.T, s *chat.Service, id, from string, rooms ...string) *chat.Client {
	t.Helper()
	c := s.Connect(&peer{id: id, address: from, hall: &hall{members: map[string][]*peer{}}})
	t.Cleanup(c.Close)
	for _, room := range rooms {
		if err := c.Join(t.Context(), chat.Principal{UserID: id}, chat.JoinRequest{RoomID: room}, func(chat.Joined) {}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// post sends a message and returns the outcome.
func post(c *chat.Client, room, id, message string) error {
	sent := make(chan error, 1)
	q := chat.SendRequest{RoomID: room, ClientID: id, Message: json.RawMessage(message)}
	if err := c.Send(context.Background(), q, func(_ history.Message, err error) { sent <- err }); err != nil {
		return err
	}
	return <-sent
}

func wantSaid(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("refused: %v", err)
	}
}

// wantOver checks that a quota refused a message, and returns when to try again.
func wantOver(t *testing.T, err error) time.Duration {
	t.Helper()
	wantCode(t, err, chat.RateLimited)
	var e *chat.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		return e.RetryAfter
	}
	t.Fatalf("%v does not say when to try again", err)
	return 0
}

// An address creates rooms up to its quota, with all its connections and identities together. Others,
// and rooms that exist, are not affected.
func TestQuotaOfRooms(t *testing.T) {
	q := budget.Limits{budget.Rooms: {PerSecond: 0.01, Burst: 3}}
	inQuotas(t, history.NewMemory(), q, func(t *testing.T, s *chat.Service, e *exceeded) {
		other := connect(t, s, "other id", "192.0.2.2", "theirs", "more", "1")
		wantSaid(t, post(other, "theirs", "", "1"))
		for n := range 4 { // the last one goes over the quota
			c := connect(t, s, fmt.Sprint("stranger", n), "192.0.2.1", fmt.Sprint(n))
			wantSaid(t, post(c, fmt.Sprint(n), "", "1"))
		}
		e.want(t)
		c := connect(t, s, "somebody", "192.0.2.1", "new", "1", "theirs")
		wait := wantOver(t, post(c, "new", "", "1"))
		e.want(t, "rooms of 192.0.2.1")
		wantSaid(t, post(c, "1", "", "1"))
		wantSaid(t, post(c, "theirs", "", "1"))
		wantSaid(t, post(other, "more", "", "1"))
		local := connect(t, s, "importer", "127.0.0.1")
		for n := range 100 {
			room := fmt.Sprint("import ", n)
			if err := local.Join(t.Context(), chat.Principal{UserID: "u"}, chat.JoinRequest{RoomID: room}, func(chat.Joined) {}); err != nil {
				t.Fatal(err)
			}
			wantSaid(t, post(local, room, "", "1"))
		}

		time.Sleep(wait - time.Second)
		wantOver(t, post(c, "new", "", "1"))
		time.Sleep(time.Second)
		wantSaid(t, post(c, "new", "", "1"))
		wantSaid(t, post(c, "new", "", "1")) // it exists now
	})
}

// Messages that turn out to be in a room that exists, or stored already, are not charged for a room.
func TestQuotaOfRoomsIsGivenBack(t *testing.T) {
	q := budget.Limits{budget.Rooms: {PerSecond: 0.01, Burst: 100}}
	inQuotas(t, history.NewMemory(), q, func(t *testing.T, s *chat.Service, e *exceeded) {
		c := connect(t, s, "somebody", "192.0.2.1", "r", "s")
		for range 20 {
			var all []chan error
			for range 16 { // at once, before it is known that the room exists
				sent := make(chan error, 1)
				all = append(all, sent)
				q := chat.SendRequest{RoomID: "r", Message: json.RawMessage("1")}
				wantSaid(t, c.Send(t.Context(), q, func(_ history.Message, err error) { sent <- err }))
			}
			for _, sent := range all {
				wantSaid(t, <-sent)
			}
		}
		e.want(t)
		for n := range 100 { // as many as the burst, with the room above
			room := fmt.Sprint(n)
			each := connect(t, s, fmt.Sprint("stranger", n), "192.0.2.1", room)
			wantSaid(t, post(each, room, "", "1"))
		}
		wantOver(t, post(c, "s", "", "1"))
	})
}

// An address stores bytes up to its quota. What was stored already, or could not be stored, does not
// count.
func TestQuotaOfBytes(t *testing.T) {
	store := &failing{Store: history.NewMemory()}
	big := `"` + strings.Repeat("x", 10_000) + `"`
	each := (&history.Draft{UserID: "somebody", ClientID: "0", Message: []byte(big)}).Footprint(false)
	q := budget.Limits{budget.Stored: {PerSecond: 1000, Burst: 10.5 * float64(each)}}
	inQuotas(t, store, q, func(t *testing.T, s *chat.Service, e *exceeded) {
		c := connect(t, s, "somebody", "192.0.2.1", "r")
		wantSaid(t, post(c, "r", "0", big))
		for range 30 {
			wantSaid(t, post(c, "r", "0", big)) // stored already
		}
		store.err = history.ErrUnavailable
		for range 30 {
			wantCode(t, post(c, "r", "1", big), chat.Unavailable)
		}
		store.err = nil
		e.want(t)
		for n := 1; n < 10; n++ {
			wantSaid(t, post(c, "r", fmt.Sprint(n), big))
		}
		store.err = history.ErrUnknownOutcome
		wantCode(t, post(c, "r", "10", big), chat.UnknownOutcome) // it may have been stored
		store.err = nil
		wait := wantOver(t, post(c, "r", "10", big))
		e.want(t, "stored of 192.0.2.1")
		wantSaid(t, post(connect(t, s, "somebody", "192.0.2.2", "r"), "r", "other", big))
		time.Sleep(wait)
		wantSaid(t, post(c, "r", "10", big))
		wantOver(t, post(c, "r", "11", big))
	})
}

// failing is a store whose appends fail.
type failing struct {
	history.Store
	err error
}

func (f *failing) Append(ctx context.Context, d []history.Draft) ([]history.Appended, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.Store.Append(ctx, d)
}

// All clients of an address together are in so many rooms at the same time. A room counts for each of
// them. To join again costs nothing, and who leaves or goes makes room.
func TestMembershipsOfAnAddress(t *testing.T) {
	inQuotas(t, history.NewMemory(), budget.Limits{budget.Memberships: {Burst: 4}}, func(t *testing.T, s *chat.Service, e *exceeded) {
		join := func(c *chat.Client, room string) error {
			return c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: room}, func(chat.Joined) {})
		}
		wantRefused := func(c *chat.Client, room string) {
			t.Helper()
			var refusal *chat.Error
			if err := join(c, room); !errors.As(err, &refusal) || refusal.Code != chat.TooManyRooms {
				t.Errorf("joining %s: %v", room, err)
			}
		}
		wantJoined := func(c *chat.Client, rooms ...string) {
			t.Helper()
			for _, room := range rooms {
				if err := join(c, room); err != nil {
					t.Errorf("joining %s: %v", room, err)
				}
			}
		}
		a, b := connect(t, s, "aaaaaaaa", "192.0.2.1:1", "r1", "r2"), connect(t, s, "bbbbbbbb", "192.0.2.1:2", "r1", "r2")
		wantRefused(a, "r3")
		wantRefused(b, "r3")
		e.want(t, "memberships of 192.0.2.1", "memberships of 192.0.2.1")
		if n := s.Stats().Refused["memberships"]; n != 2 {
			t.Errorf("%d counted", n)
		}
		wantJoined(a, "r1", "r2")
		wantJoined(connect(t, s, "cccccccc", "192.0.2.2:1"), "r1", "r2", "r3", "r4")
		wantJoined(connect(t, s, "dddddddd", "127.0.0.1:1"), "r1", "r2", "r3", "r4", "r5")
		if err := a.Leave("r1"); err != nil {
			t.Error(err)
		}
		wantJoined(b, "r3")
		wantRefused(a, "r4")
		b.Close()
		wantJoined(a, "r4", "r5", "r6")
		wantRefused(a, "r7")
	})
}

// Connections count when their clients ask for something, not before.
func TestQuotaOfOpenings(t *testing.T) {
	limits := budget.Limits{budget.Openings: {PerSecond: 1, Burst: 3}}
	inQuotas(t, history.NewMemory(), limits, func(t *testing.T, s *chat.Service, e *exceeded) {
		for range 100 {
			if err := s.Admit("192.0.2.1:1"); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 5 {
			connect(t, s, fmt.Sprint("client-", i), "192.0.2.1")
		}
		var refusal *chat.Error
		if err := s.Admit("192.0.2.1:2"); !errors.As(err, &refusal) || refusal.Code != chat.RateLimited || refusal.RetryAfter < 2*time.Second {
			t.Errorf("after five connections: %v", err)
		}
		if err := s.Admit("192.0.2.2:1"); err != nil {
			t.Errorf("another address: %v", err)
		}
		e.want(t, "openings of 192.0.2.1")
		time.Sleep(10 * time.Second)
		if err := s.Admit("192.0.2.1:3"); err != nil {
			t.Errorf("after a rest: %v", err)
		}
	})
}

// All connections of an address have a budget of events together.
func TestEventsOfAnAddress(t *testing.T) {
	limits := budget.Limits{budget.AddressEvents: {PerSecond: 1, Burst: 4}}
	inQuotas(t, history.NewMemory(), limits, func(t *testing.T, s *chat.Service, _ *exceeded) {
		start := time.Now()
		begin := func(c *chat.Client, after time.Duration) {
			t.Helper()
			if err := c.Begin(t.Context()); err != nil || time.Since(start) != after {
				t.Errorf("an event begins after %v (%v), want %v", time.Since(start), err, after)
			}
		}
		a, b := connect(t, s, "aaaaaaaa", "192.0.2.1"), connect(t, s, "bbbbbbbb", "192.0.2.1")
		other, here := connect(t, s, "cccccccc", "192.0.2.2"), connect(t, s, "dddddddd", "127.0.0.1")
		for range 2 {
			begin(a, 0)
			begin(b, 0)
		}
		begin(a, 0) // the burst allows one more than it has
		begin(b, time.Second)
		begin(other, time.Second)
		for range 100 {
			begin(here, time.Second)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.Begin(ctx); err != chat.ErrGone {
			t.Errorf("an event of a client that is gone: %v", err)
		}
		var refusal *chat.Error
		for err := error(nil); !errors.As(err, &refusal); {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // do not wait
			err = b.Begin(ctx)
		}
		if refusal.Code != chat.RateLimited || refusal.RetryAfter <= 5*time.Second {
			t.Errorf("%+v", refusal)
		}
	})
}
