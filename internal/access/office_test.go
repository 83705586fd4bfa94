package access_test

import (
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

// offices runs f with the tickets of three servers of a cluster.
func offices(t *testing.T, f func(t *testing.T, of []*access.Tickets, buses []*adapter.MemoryBus, nodes []*adapter.Native)) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		var of []*access.Tickets
		var buses []*adapter.MemoryBus
		var nodes []*adapter.Native
		for i := range 3 {
			bus := net.Connect()
			node, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint(i), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { node.Close() })
			tickets := new(access.Tickets)
			tickets.Join(node)
			if err := node.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
			of, buses, nodes = append(of, tickets), append(buses, bus), append(nodes, node)
		}
		time.Sleep(time.Second) // they know each other
		f(t, of, buses, nodes)
	})
}

// A ticket that one server has issued is good on the others, and only once.
func TestTicketsOfSeveralServers(t *testing.T) {
	who := &auth.Identity{
		Subject: "ann", Role: auth.User, Name: "Ann", Grants: auth.Grants{}, Issuer: "i", TokenID: "t",
		IssuedAt: access.IssueTime(), Expires: time.Unix(2e9, 0).UTC(),
	}
	offices(t, func(t *testing.T, of []*access.Tickets, buses []*adapter.MemoryBus, nodes []*adapter.Native) {
		issue := func(path string) access.Secret {
			t.Helper()
			ticket, _, err := of[0].Issue(who, "GET", path)
			if err != nil {
				t.Fatal(err)
			}
			return ticket
		}
		use := func(on int, ticket access.Secret, path string, want conversation.Code) {
			t.Helper()
			got, err := of[on].Use(t.Context(), ticket, "GET", path)
			wantCode(t, fmt.Sprintf("use of %s on server %d", path, on), err, want)
			if err == nil && !reflect.DeepEqual(got, who) {
				t.Errorf("it is %+v's, want %+v", got, who)
			}
		}
		for first := range of {
			ticket := issue("/file")
			use(first, ticket, "/file", "")
			for again := range of {
				use(again, ticket, "/file", conversation.BadToken)
			}
			ticket = issue("/file")
			use(first, ticket, "/other", conversation.BadToken)
			use(0, ticket, "/file", conversation.BadToken) // somebody has tried it for something else
		}
		use(1, "made up", "/file", conversation.BadToken)
		use(1, "made.up", "/file", conversation.BadToken)
		use(1, access.Secret("made up."+nodes[2].Self().Tag), "/file", conversation.BadToken)

		late := issue("/file")
		time.Sleep(access.TicketLife)
		use(1, late, "/file", conversation.BadToken)
		lost := issue("/file")
		buses[0].Cut(true)
		use(1, lost, "/file", conversation.Unavailable)
		time.Sleep(10 * time.Second) // until it is taken for dead
		use(1, lost, "/file", conversation.BadToken)
	})
}

// A feed may go on at another server, and is open only once. A server that dies closes its feeds.
func TestFeedsOfSeveralServers(t *testing.T) {
	offices(t, func(t *testing.T, of []*access.Tickets, buses []*adapter.MemoryBus, _ []*adapter.Native) {
		ticket, _, err := of[0].Issue(ann, "GET", "/feed")
		if err != nil {
			t.Fatal(err)
		}
		over := make([]int, 3)
		open := func(on int, position int64, want conversation.Code) *access.Feed {
			t.Helper()
			feed, err := of[on].Open(t.Context(), ticket, "/feed", position, func() { over[on]++ })
			wantCode(t, fmt.Sprintf("open on server %d at %d", on, position), err, want)
			if err == nil && feed.Identity.Subject != "ann" {
				t.Errorf("it is %+v's", feed.Identity)
			}
			synctest.Wait()
			return feed
		}
		first := open(1, 0, "")
		time.Sleep(time.Hour)
		second := open(2, 7, "")
		if over[1] != 1 {
			t.Error("the feed is open twice")
		}
		first.Close() // is late
		synctest.Wait()
		open(1, 6, conversation.BadToken) // from an earlier position
		time.Sleep(time.Hour)
		second.Close()
		time.Sleep(access.TicketLife - time.Second)
		open(0, 7, "")
		third := open(1, 8, "")
		if over[0] != 1 {
			t.Error("the feed at the ticket's server is open twice")
		}
		third.Close()
		third.Close()
		time.Sleep(access.TicketLife - time.Second)
		open(2, 9, "")
		buses[2].Cut(true)
		time.Sleep(access.TicketLife / 2)
		open(1, 10, "").Close()
		time.Sleep(access.TicketLife)
		open(1, 11, conversation.BadToken)
		if n, _ := of[0].Size(); n != 0 {
			t.Errorf("%d tickets are left", n)
		}

		// A feed that nobody closes, because its server has died, leaves nothing.
		buses[2].Cut(false)
		time.Sleep(10 * time.Second)
		if ticket, _, err = of[0].Issue(ann, "GET", "/feed"); err != nil {
			t.Fatal(err)
		}
		open(2, 0, "")
		buses[2].Cut(true)
		time.Sleep(access.TicketLife + 10*time.Second)
		_, _, _ = of[0].Issue(ann, "GET", "/other") // sweeps
		if n, _ := of[0].Size(); n != 1 {
			t.Errorf("%d tickets are left of a dead server's feed", n-1)
		}
	})
}
