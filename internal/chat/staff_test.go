package chat_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// presences returns what the console was told of operators that it did not know, in short. The same
// may be told twice.
func (c *console) presences(t *testing.T) (all []string) {
	t.Helper()
	for _, n := range c.noticed() {
		event, data, _ := strings.Cut(n, " ")
		if event != string(conversation.OperatorChanged) {
			t.Errorf("told %s", n)
			continue
		}
		var p conversation.OperatorPresence
		if err := json.Unmarshal([]byte(data), &p); err != nil {
			t.Fatal(err)
		}
		if news := short(p); news != c.told[p.OperatorID] {
			c.told[p.OperatorID] = news
			all = append(all, news)
		}
	}
	return all
}

func short(p conversation.OperatorPresence) string {
	return fmt.Sprint(p.Name, " ", p.Status, " ", p.Viewing, " ", p.Open)
}

// wantPresences expects what the console knows in the end. What happens at once may be told in two.
func (c *console) wantPresences(t *testing.T, after time.Duration, want ...string) {
	t.Helper()
	time.Sleep(after)
	got := c.presences(t)
	if len(want) == 1 && len(got) == 2 {
		got = got[1:]
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told of %q, want %q", got, want)
	}
}

func join(t *testing.T, c *chat.Client, room string) {
	t.Helper()
	if err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: room}, func(chat.Joined) {}); err != nil {
		t.Fatal(err)
	}
}

// Operators are seen by colleagues: that they are there, whether they are away, in which rooms they
// are, and how many conversations they have.
func TestOperatorsAreSeen(t *testing.T) {
	const soon, later = 300 * time.Millisecond, 3 * time.Second
	store := history.NewMemory()
	for i := range 9 {
		write(t, store, fmt.Sprint("c_", i), "hello")
	}
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		anna := newConsole(t, s, h, "anna")
		defer anna.client.Close()
		has := func(room, operator string) {
			t.Helper()
			if _, err := store.UpdateRoom(t.Context(), history.RoomUpdate{RoomID: room, OperatorID: &operator}); err != nil {
				t.Fatal(err)
			}
		}
		has("c_0", "anna")
		w := anna.watch(t, conversation.WatchRequest{})
		if len(w.Operators) != 1 || short(w.Operators[0]) != "anna online [] 1" {
			t.Errorf("operators: %+v", w.Operators)
		}
		time.Sleep(later)
		anna.presences(t) // perhaps the number that the answer had already

		bob := newConsoleOf(t, s, h, &auth.Identity{Subject: "bob", Role: auth.Operator, Name: "Bob"})
		anna.wantPresences(t, later, "Bob online [] 0")
		join(t, bob.client, "c_1")
		anna.wantPresences(t, soon, "Bob online [c_1] 0")
		join(t, bob.client, "c_1")
		anna.wantPresences(t, later)
		// What happens at once is told once.
		for i := range 9 {
			join(t, bob.client, fmt.Sprint("c_", i))
		}
		for i := range 7 {
			bob.client.Leave(fmt.Sprint("c_", i))
		}
		time.Sleep(soon)
		if got := anna.presences(t); len(got) > 2 || got[len(got)-1] != "Bob online [c_7 c_8] 0" {
			t.Errorf("told of %q", got)
		}
		has("c_7", "bob")
		has("c_8", "bob")
		anna.wantPresences(t, later, "Bob online [c_7 c_8] 2")
		if _, err := bob.client.SetStatus(conversation.StatusRequest{Status: "away"}); err != nil {
			t.Fatal(err)
		}
		anna.wantPresences(t, soon, "Bob away [c_7 c_8] 2")
		if row := anna.watch(t, conversation.WatchRequest{After: new(int64)}); len(row.Operators) != 2 || short(row.Operators[1]) != "Bob away [c_7 c_8] 2" {
			t.Errorf("operators: %+v", row.Operators)
		}

		// Another connection is the same operator. A connection that breaks is not taken for an operator
		// who goes.
		second := newConsole(t, s, h, "bob")
		bob.client.Close()
		anna.wantPresences(t, soon, "Bob away [] 2")
		second.client.Close()
		anna.wantPresences(t, 5*time.Second)
		third := newConsole(t, s, h, "bob")
		third.client.Close()
		anna.wantPresences(t, 9*time.Second)
		anna.wantPresences(t, soon+time.Second, "bob offline [] 0")
		if w := anna.watch(t, conversation.WatchRequest{}); len(w.Operators) != 1 {
			t.Errorf("operators: %+v", w.Operators)
		}

		_, err := anna.client.SetStatus(conversation.StatusRequest{Status: "offline"})
		wantCode(t, err, chat.BadPayload)
		ann, _ := guest(t, s, h, "ann")
		defer ann.Close()
		_, err = ann.SetStatus(conversation.StatusRequest{Status: "away"})
		wantCode(t, err, chat.Forbidden)
		if got := anna.presences(t); got != nil {
			t.Errorf("told of %q", got)
		}
	})
}

// Operators who see a visitor's conversation learn where the visitor is, at most every two seconds.
// Nobody hears of visitors who have never written.
func TestVisitorsAreSeen(t *testing.T) {
	store := history.NewMemory()
	write(t, store, "c_1", "hello")
	write(t, store, "c_2", "hello")
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		watching, reading := newConsole(t, s, h, "anna"), newConsole(t, s, h, "bob")
		defer watching.client.Close()
		defer reading.client.Close()
		watching.watch(t, conversation.WatchRequest{})
		join(t, reading.client, "c_1")
		visitor := func(user string) *console {
			t.Helper()
			return newConsoleOf(t, s, h, &auth.Identity{Subject: user, Role: auth.User})
		}
		news := func(c *console) (all []string) {
			for _, n := range c.noticed() {
				if data, ok := strings.CutPrefix(n, "visitorChanged "); ok {
					all = append(all, data)
				}
			}
			return all
		}
		visit := func(c *console, url string) {
			t.Helper()
			c.client.IsAt(&conversation.VisitedPage{URL: url, Referrer: "https://elsewhere"})
		}
		want := func(who *console, want ...string) {
			t.Helper()
			if got := news(who); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s was told %q, want %q", who.who.Subject, got, want)
			}
		}
		silent := visitor("somebody")
		defer silent.client.Close()
		visit(silent, "/silent")
		one, two := visitor("user of c_1"), visitor("user of c_2")
		defer two.client.Close()
		time.Sleep(3 * time.Second)
		came := `{"userId":"user of c_1","online":true}`
		want(reading, came)
		want(watching, came) // it is in no list yet, but a colleague reads it
		for i := range 20 {
			visit(one, fmt.Sprint("/", i))
			visit(two, fmt.Sprint("/", i))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		if got := news(reading); len(got) < 2 || len(got) > 3 || got[len(got)-1] != `{"userId":"user of c_1","page":{"url":"/19"},"online":true}` {
			t.Errorf("told of pages: %q", got)
		}
		news(watching)
		// A list has the visitors of its conversations, and from then on they are news.
		list, err := watching.client.ListRooms(t.Context(), conversation.ListRequest{})
		if err != nil || len(list.Rooms) != 2 {
			t.Fatal(list, err)
		}
		for _, r := range list.Rooms {
			if r.Page == nil || r.Page.URL != "/19" || !r.User.Online {
				t.Errorf("row: %+v, %+v", r.Page, r.User)
			}
		}
		visit(two, "/next")
		time.Sleep(time.Second)
		want(watching, `{"userId":"user of c_2","page":{"url":"/next"},"online":true}`)
		one.client.Close()
		time.Sleep(3 * time.Second)
		gone := `{"userId":"user of c_1","online":false}`
		want(watching, gone)
		want(reading, gone)

		// A client that is behind gets the last state later.
		watching.peer.mu.Lock()
		watching.behind = true
		watching.peer.mu.Unlock()
		write(t, store, "c_1", "more")
		time.Sleep(2 * time.Second)
		visit(two, "/last")
		time.Sleep(3 * time.Second)
		want(watching)
		watching.take()
		time.Sleep(time.Second)
		want(watching, `{"userId":"user of c_2","page":{"url":"/last"},"online":true}`)
	})
}

// However many visitors move at once, each watcher is told of 100 of them in 250 ms at most, and in
// the end of all.
func TestManyVisitors(t *testing.T) {
	const many = 1000
	store := history.NewMemory()
	for i := range many {
		write(t, store, fmt.Sprint("c_", i), "hello")
	}
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		anna := newConsole(t, s, h, "anna")
		defer anna.client.Close()
		anna.watch(t, conversation.WatchRequest{})
		for i := range many {
			room := fmt.Sprint("c_", i)
			c := newConsoleOf(t, s, h, &auth.Identity{Subject: "user of " + room, Role: auth.User})
			defer c.client.Close()
			join(t, c.client, room)
		}
		seen := map[string]bool{}
		for range 12 {
			got := anna.noticed()
			if len(got) > 100 {
				t.Errorf("%d at once", len(got))
			}
			for _, n := range got {
				seen[n] = true
			}
			time.Sleep(250 * time.Millisecond)
		}
		if len(seen) < many {
			t.Errorf("%d of %d visitors were announced", len(seen), many)
		}
	})
}

// An operator whose grants are not for all conversations learns nothing of the others: neither where
// visitors are, nor where colleagues are. Of the users whose conversations it has open, it does.
func TestLimitedOperators(t *testing.T) {
	const later = 3 * time.Second
	page := func(n int) *conversation.VisitedPage {
		return &conversation.VisitedPage{URL: fmt.Sprint("https://shop.example/", n)}
	}
	atDesk(t, nil, func(d *desk) {
		ann, ben, full := d.user("ann"), d.user("ben"), d.operator("full")
		of := map[*person]string{ann: ann.start("hello"), ben: ben.start("hello")}
		limited := d.with(&auth.Identity{Subject: "limited", Role: auth.Operator, Grants: auth.Grants{{Pattern: of[ann], Rights: auth.Read}}})
		watch := func(p *person) (operators string) {
			t.Helper()
			err := p.Watch(d.Context(), conversation.WatchRequest{}, func(w conversation.Watched) {
				for _, o := range w.Operators {
					operators += short(o) + "; "
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			return operators
		}
		full.join(of[ann])
		full.join(of[ben])
		if got, want := watch(limited), "FULL online [] 0; limited online [] 0; "; got != want {
			t.Errorf("operators: %q, want %q", got, want)
		}
		if got := watch(full); !strings.Contains(got, of[ben]) {
			t.Errorf("operators: %q", got)
		}
		for i, joined := range []bool{false, true} {
			if joined {
				limited.join(of[ann])
			}
			full.Leave(of[ben])
			full.join(of[ben])
			time.Sleep(later)
			limited.heard()
			full.heard()
			ann.IsAt(page(i))
			ben.IsAt(page(i))
			full.Leave(of[ann])
			full.join(of[ann])
			time.Sleep(later)
			all, some := strings.Join(full.heard(), "\n"), strings.Join(limited.heard(), "\n") // the same may come twice
			for _, part := range []string{`"userId":"ann"`, `"userId":"ben"`, of[ben]} {
				if !strings.Contains(all, part) {
					t.Errorf("the operator heard %s, want %s", all, part)
				}
			}
			if !strings.Contains(some, `"operatorId":"full"`) || strings.Contains(some, "viewing") || strings.Contains(some, "ben") ||
				strings.Contains(some, `"userId":"ann"`) != joined {
				t.Errorf("joined %v: the limited operator heard %s", joined, some)
			}
		}
	})
}
