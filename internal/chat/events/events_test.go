package events_test

import (
	"context"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app/apptest"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs an open server with these budgets.
func serve(t *testing.T, limits budget.Limits) (url string) {
	t.Helper()
	s := httptest.NewServer(newServer(t, limits, nil))
	t.Cleanup(s.Close)
	return s.URL
}

// newServer returns a server that is closed if there is an authorizer.
func newServer(t *testing.T, limits budget.Limits, authorizer auth.Authorizer) *parley.Server {
	t.Helper()
	srv, err := parley.New(&parley.Options{Authorize: authorizer})
	if err != nil {
		t.Fatal(err)
	}
	store := history.NewMemory()
	log := history.NewLog(store, nil)
	events.Register(srv, chat.New(store, log, chat.Options{
		PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, Timeout: time.Minute, Announcer: events.Announcer(srv), Budgets: limits,
		Closed: func() bool { return authorizer != nil }, EditWindow: time.Hour,
	}))
	t.Cleanup(func() {
		srv.Shutdown(context.Background())
		log.Close()
	})
	return srv
}

// The refusal of an event that would wait too long says when to try again, with or without an
// acknowledgement.
func TestRateLimited(t *testing.T) {
	p := apptest.Dial(t, serve(t, budget.Limits{budget.Joins: {PerSecond: 0.01, Burst: 1}}))
	type object = map[string]any
	for range 2 { // the second one is over the burst
		p.Ask("joinRoom", object{"roomId": "r"}, new(object))
	}
	type refusal struct {
		Code, Message, Event string
		Data                 struct{ RetryAfter int }
	}
	var acknowledged struct{ Error refusal }
	var told refusal
	p.Ask("joinRoom", object{"roomId": "r"}, &acknowledged)
	p.Send("joinRoom", object{"roomId": "r"})
	p.Expect("error", &told)
	for _, r := range []refusal{acknowledged.Error, told} {
		if r.Code != "rate_limited" || r.Data.RetryAfter < 90 || r.Data.RetryAfter > 100 {
			t.Errorf("%+v", r)
		}
	}
}

// Every event counts for its address, even one that there is not.
func TestEveryEventCountsForItsAddress(t *testing.T) {
	url := serve(t, budget.Limits{budget.AddressEvents: {PerSecond: 0.01, Burst: 2}})
	type object = map[string]any
	apptest.Dial(t, url).Ask("joinRoom", object{"roomId": "r"}, new(object))
	p := apptest.Dial(t, url)
	var answer struct{ Error struct{ Code string } }
	for _, want := range []string{"unknown_event", "unknown_event", "rate_limited"} {
		if p.Ask("nothing", object{}, &answer); answer.Error.Code != want {
			t.Errorf("answered with %q, want %q", answer.Error.Code, want)
		}
	}
}

// A request that lacks a member that it must have, or has an empty one, is refused, and the refusal
// names the member. The table has the members that are not optional in docs/events.md.
func TestMissingMembers(t *testing.T) {
	type object = map[string]any
	visited := object{"title": "Shoes"}
	p := apptest.Dial(t, serve(t, budget.Limits{}))
	whole := object{
		"roomId": "r", "message": object{"text": "x"}, "seq": 1, "operatorId": nil, "query": "x", "token": "x", "status": "away", "userId": "u7",
	}
	for event, must := range map[string][]string{
		"hello": nil, "startConversation": nil, "listRooms": nil, "watchRooms": nil, "unwatchRooms": nil,
		"joinRoom": {"roomId"}, "leaveRoom": {"roomId"}, "history": {"roomId"}, "typing": {"roomId"},
		"sendMessage": {"roomId", "message"}, "editMessage": {"roomId", "seq", "message"}, "deleteMessage": {"roomId", "seq"},
		"markRead": {"roomId", "seq"}, "markUnread": {"roomId", "seq"},
		"claimRoom": {"roomId"}, "transferRoom": {"roomId", "operatorId"}, "closeRoom": {"roomId"}, "reopenRoom": {"roomId"},
		"answered": {"roomId"}, "updateRoom": {"roomId"}, "addNote": {"roomId", "message"}, "search": {"query"},
		"identify": {"token"}, "refresh": {"token"}, "setStatus": {"status"}, "getPerson": {"userId"}, "updatePerson": {"userId"},
	} {
		asked := func(payload object) (refused parley.Error) {
			var answer struct{ Error parley.Error }
			p.Ask(event, payload, &answer)
			return answer.Error
		}
		for _, member := range must {
			payload := maps.Clone(whole)
			delete(payload, member)
			if e := asked(payload); e.Code != "bad_payload" || !strings.HasPrefix(e.Message, member+" is missing") {
				t.Errorf("%s without %s: %+v", event, member, e)
			}
		}
		for _, member := range []string{"roomId", "seq", "query", "token", "status", "userId"} {
			payload := maps.Clone(whole)
			if payload[member] = ""; member == "seq" {
				payload[member] = 0
			}
			if e := asked(payload); slices.Contains(must, member) != strings.HasPrefix(e.Message, member+" is missing") {
				t.Errorf("%s with an empty %s: %+v", event, member, e)
			}
		}
		if e := asked(whole); strings.Contains(e.Message, "is missing") {
			t.Errorf("%s: %+v", event, e)
		}
		if event == "hello" || event == "startConversation" {
			if e := asked(object{"page": visited}); e.Code != "bad_payload" || !strings.HasPrefix(e.Message, "page.url is missing") {
				t.Errorf("%s with a page that has no address: %+v", event, e)
			}
		}
	}
}
