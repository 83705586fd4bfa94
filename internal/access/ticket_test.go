package access_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

var ann = &auth.Identity{Subject: "ann", Role: auth.User}

func issue(t *testing.T, tickets *access.Tickets, method, path string) access.Secret {
	t.Helper()
	ticket, ends, err := tickets.Issue(ann, method, path)
	if err != nil || !ends.Equal(time.Now().Add(access.TicketLife)) || len(ticket) != 27 {
		t.Fatalf("ticket %q until %v, %v", string(ticket), ends, err)
	}
	return ticket
}

func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tickets access.Tickets
		use := func(ticket access.Secret, method, path string, want conversation.Code) {
			t.Helper()
			who, err := tickets.Use(t.Context(), ticket, method, path)
			wantCode(t, method+" "+path, err, want)
			if (who == ann) != (want == "") {
				t.Errorf("identity %v", who)
			}
		}
		a := issue(t, &tickets, "GET", "/file")
		use(a, "GET", "/file", "")
		use(a, "GET", "/file", conversation.BadToken) // once
		for _, wrong := range [][2]string{{"POST", "/file"}, {"GET", "/other"}, {"GET", "/file/"}} {
			a = issue(t, &tickets, "GET", "/file")
			use(a, wrong[0], wrong[1], conversation.BadToken)
			use(a, "GET", "/file", conversation.BadToken) // somebody has tried it for something else
		}
		use("", "GET", "/file", conversation.BadToken)
		a = issue(t, &tickets, "GET", "/file")
		time.Sleep(access.TicketLife - 1)
		b := issue(t, &tickets, "GET", "/file")
		use(a, "GET", "/file", "")
		time.Sleep(access.TicketLife)
		use(b, "GET", "/file", conversation.BadToken)
		if n, owners := tickets.Size(); n != 0 || owners != 0 {
			t.Errorf("%d tickets of %d identities are left", n, owners)
		}
	})
}

// A feed reopens with its ticket, later or at the same position, until a minute after it was closed.
func TestTicketsOfFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tickets access.Tickets
		const path = "/rooms/a/events"
		ticket := issue(t, &tickets, "GET", path)
		over := 0
		open := func(path string, position int64, want conversation.Code) *access.Feed {
			t.Helper()
			f, err := tickets.Open(t.Context(), ticket, path, position, func() { over++ })
			wantCode(t, fmt.Sprint(path, " from ", position), err, want)
			if err == nil && f.Identity != ann {
				t.Errorf("identity %v", f.Identity)
			}
			return f
		}
		time.Sleep(50 * time.Second)
		open("/rooms/b/events", 0, conversation.BadToken)
		f := open(path, 5, "")
		time.Sleep(time.Hour) // open all the time
		f.Close()
		f.Close()
		time.Sleep(access.TicketLife - 1)
		open(path, 4, conversation.BadToken) // somebody else would read what is before
		f = open(path, 5, "")
		open(path, 9, "") // the server has not noticed yet that the first one is gone
		if over != 1 {
			t.Error("the feed is open twice")
		}
		f.Close() // late
		time.Sleep(time.Hour)
		last := open(path, 9, "")
		if over != 2 {
			t.Error("the feed is open twice")
		}
		_, err := tickets.Use(t.Context(), ticket, "GET", path)
		wantCode(t, "a feed's ticket for a request", err, conversation.BadToken)
		last.Close()
		time.Sleep(access.TicketLife)
		open(path, 10, conversation.BadToken)
		if n, owners := tickets.Size(); n != 0 || owners != 0 {
			t.Errorf("%d tickets of %d identities are left", n, owners)
		}
		ticket = issue(t, &tickets, "POST", path)
		open(path, 0, conversation.BadToken)
	})
}

// Tickets are bounded for each identity and together. Feeds that are open keep theirs.
func TestTicketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tickets access.Tickets
		first := issue(t, &tickets, "GET", "/feed")
		feed, err := tickets.Open(t.Context(), first, "/feed", 0, func() {})
		wantCode(t, "open", err, "")
		for range access.MaxTicketsOf - 1 {
			issue(t, &tickets, "GET", "/file")
		}
		_, _, err = tickets.Issue(ann, "GET", "/file")
		wantCode(t, "one too many", err, conversation.RateLimited)
		for i := range access.MaxTickets {
			who := &auth.Identity{Subject: fmt.Sprint(i / access.MaxTicketsOf), Role: auth.Operator}
			if _, _, err := tickets.Issue(who, "GET", "/file"); err != nil {
				t.Fatal(err)
			}
		}
		if n, _ := tickets.Size(); n != access.MaxTickets {
			t.Errorf("%d tickets", n)
		}
		feed.Close()
		_, err = tickets.Open(t.Context(), first, "/feed", 0, func() {})
		wantCode(t, "a feed's ticket", err, "")
		time.Sleep(access.TicketLife)
		issue(t, &tickets, "GET", "/file")
	})
}

// Random uses do what a model says.
func TestTicketsModel(t *testing.T) {
	type step struct {
		what, ticket int
		path         string
		position     int64
		pause        time.Duration
	}
	type model struct {
		secret   access.Secret
		path     string
		ends     time.Time // zero while its feed is open
		position int64
		gone     bool
		feed     *access.Feed
	}
	play := func(steps []step) error {
		var tickets access.Tickets
		var all []*model
		for i, s := range steps {
			time.Sleep(s.pause)
			if s.what == 0 || len(all) == 0 {
				secret, ends, err := tickets.Issue(ann, "GET", s.path)
				if err != nil {
					return err
				}
				all = append(all, &model{secret: secret, path: s.path, ends: ends})
				continue
			}
			m := all[s.ticket%len(all)]
			alive := !m.gone && (m.ends.IsZero() || time.Now().Before(m.ends))
			var err error
			want := alive
			switch s.what {
			case 1:
				_, err = tickets.Use(t.Context(), m.secret, "GET", s.path)
				want = alive && s.path == m.path && m.feed == nil
				m.gone = m.gone || !m.ends.IsZero()
			case 2:
				var f *access.Feed
				f, err = tickets.Open(t.Context(), m.secret, s.path, s.position, func() {})
				want = alive && s.path == m.path && s.position >= m.position
				if want {
					m.feed, m.position, m.ends = f, s.position, time.Time{}
				}
			case 3:
				if m.feed == nil {
					continue
				}
				if m.feed.Close(); m.ends.IsZero() {
					m.ends = time.Now().Add(access.TicketLife)
				}
				continue
			}
			if (err == nil) != want {
				return fmt.Errorf("step %d, %+v: %v, want success %v", i, s, err, want)
			}
		}
		return nil
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				what: rapid.IntRange(0, 3).Draw(t, "what"), ticket: rapid.IntRange(0, 3).Draw(t, "ticket"),
				path: rapid.SampledFrom([]string{"/a", "/a", "/b"}).Draw(t, "path"), position: rapid.Int64Range(0, 3).Draw(t, "position"),
				pause: time.Duration(rapid.IntRange(0, 31).Draw(t, "seconds")) * time.Second,
			}
		}), 1, 40).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(*testing.T) { err = play(steps) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// A ticket for a long path takes no more memory than one for a short path.
func TestTicketsAreSmall(t *testing.T) {
	const identities, each, most = 16, 256, 1000 // bytes
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	tickets := new(access.Tickets)
	before := heap()
	for i := range identities {
		who := &auth.Identity{Subject: fmt.Sprint("u", i), Role: auth.User}
		for range each {
			if _, _, err := tickets.Issue(who, "GET", "/"+strings.Repeat("x", 1999)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if size := (int64(heap()) - int64(before)) / (identities * each); size > most {
		t.Errorf("a ticket takes %d bytes, want at most %d", size, most)
	}
	runtime.KeepAlive(tickets)
}
