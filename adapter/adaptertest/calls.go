package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parley-go/parley/adapter"
)

func clusterAck(t TB, s Servers) {
	_, spaces := three(t, s)
	ask := func(to adapter.Selection, most int) (answers []string, err error) {
		ctx, cancel := patient()
		defer cancel()
		m := &adapter.Message{Kind: adapter.Broadcast, Selection: to, Data: []byte(`["question"]`)}
		err = spaces[0].Link.Call(ctx, m, func(a *adapter.Answer) {
			if answers = append(answers, string(a.Data)); len(answers) == most {
				cancel()
			}
		})
		slices.Sort(answers)
		return answers, err
	}
	if answers, err := ask(all(), -1); err != nil || len(answers) > 0 {
		t.Errorf("nobody there: %q, %v", answers, err)
	}
	for i, sp := range spaces {
		for j := range i { // none, one, two
			sp.Connect(fmt.Sprint("k", i, j)).Join("room")
		}
	}
	want := []string{`["k1 0"]`, `["k2 0"]`, `["k2 1"]`}
	for _, to := range []adapter.Selection{all(), in("room"), in("k1 0", "k2 0", "k2 1")} {
		if answers, err := ask(to, -1); err != nil || !slices.Equal(answers, want) {
			t.Errorf("%v: %q, %v", to, answers, err)
		}
	}
	spaces[2].socket("k2 0").Silence()
	answers, err := ask(all(), 2)
	var partial *adapter.Partial
	if !errors.As(err, &partial) || !slices.Equal(partial.Missing, []string{"c"}) && !s.Anonymous || !errors.Is(err, context.Canceled) {
		t.Errorf("one that says nothing: %v", err)
	}
	if !slices.Equal(answers, []string{`["k1 0"]`, `["k2 1"]`}) {
		t.Errorf("the others: %q", answers)
	}
}

func clusterFetch(t TB, s Servers) {
	_, spaces := three(t, s)
	for i, sp := range spaces {
		sp.Connect(fmt.Sprint("k", i)).Join("room")
	}
	for i := range 300 { // together, more than a message holds
		spaces[1].Connect(fmt.Sprint("many ", i)).Join("many", strings.Repeat("a long name of a room ", 300)+fmt.Sprint(i))
	}
	ctx, cancel := patient()
	defer cancel()
	fetch := func(which adapter.Selection) (ids []string) {
		m := &adapter.Message{Kind: adapter.Fetch, Selection: which}
		if err := spaces[0].Link.Call(ctx, m, func(a *adapter.Answer) {
			for _, info := range a.Sockets {
				if string(info.Data) != `{"of":"`+info.ID+`"}` || string(info.Handshake) != `{"address":"127.0.0.1"}` || !slices.Contains(info.Rooms, info.ID) {
					t.Errorf("about %s: %s %s", info.ID, info.Data, info.Handshake)
				}
				ids = append(ids, info.ID)
			}
		}); err != nil {
			t.Errorf("fetch: %v", err)
		}
		slices.Sort(ids)
		return ids
	}
	if got := fetch(in("room")); !slices.Equal(got, []string{"k1", "k2"}) {
		t.Errorf("in the room are %q", got)
	}
	if got := fetch(in("nothing")); len(got) > 0 {
		t.Errorf("in no room are %q", got)
	}
	if got := fetch(all()); len(got) != 302 {
		t.Errorf("there are %d", len(got))
	}
	count := 0
	if err := spaces[0].Link.Call(ctx, &adapter.Message{Kind: adapter.Count, Selection: in("room", "many")}, func(a *adapter.Answer) { count += a.Count }); err != nil || count != 302 {
		t.Errorf("counted %d, %v", count, err)
	}
	sizes := map[string]int{}
	if err := spaces[0].Link.Call(ctx, &adapter.Message{Kind: adapter.RoomSizes, Selection: in("room")}, func(a *adapter.Answer) {
		for room, n := range a.Rooms {
			sizes[room] += n
		}
	}); err != nil || !maps.Equal(sizes, map[string]int{"room": 2}) {
		t.Errorf("rooms: %v, %v", sizes, err)
	}
}

func clusterEvents(t TB, s Servers) {
	_, spaces := three(t, s)
	if err := spaces[0].Link.Publish(&adapter.Message{Kind: adapter.ServerEvent, Data: []byte(`["hello",1]`)}); err != nil {
		t.Fatalf("publish: %v", err)
	}
	for _, sp := range spaces[1:] {
		Eventually(t, "the event", func() bool { return slices.Equal(sp.Events(), []string{`["hello",1]`}) })
	}
	if got := spaces[0].Events(); len(got) > 0 {
		t.Errorf("the sender received %q", got)
	}
	ask := func() (answers []string, err error) {
		ctx, cancel := patient()
		defer cancel()
		err = spaces[0].Link.Call(ctx, &adapter.Message{Kind: adapter.ServerEvent, Data: []byte(`["who"]`)}, func(a *adapter.Answer) {
			answers = append(answers, string(a.Data))
		})
		slices.Sort(answers)
		return answers, err
	}
	for i, sp := range spaces {
		sp.Handle(func([]byte) ([]byte, bool) { return fmt.Appendf(nil, "[%d]", i), true })
	}
	if answers, err := ask(); err != nil || !slices.Equal(answers, []string{"[1]", "[2]"}) {
		t.Errorf("both answer: %q, %v", answers, err)
	}
	if s.Anonymous {
		return // silence and no handler are the same
	}
	spaces[1].Handle(nil)
	if answers, err := ask(); err != nil || !slices.Equal(answers, []string{"[2]"}) {
		t.Errorf("one has no handler: %q, %v", answers, err)
	}
}

// A call ends when a server dies, and names it.
func clusterDeath(t TB, s Servers) {
	if s.Kill == nil {
		return
	}
	clusters, spaces := three(t, s)
	spaces[1].Connect("b's").Join("room")
	spaces[2].Connect("c's").Join("room")
	s.Kill(clusters[2])
	ctx, cancel := patient()
	defer cancel()
	var found []string
	err := spaces[0].Link.Call(ctx, &adapter.Message{Kind: adapter.Fetch}, func(a *adapter.Answer) {
		for _, info := range a.Sockets {
			found = append(found, info.ID)
		}
	})
	var partial *adapter.Partial
	if !errors.As(err, &partial) || !slices.Equal(partial.Missing, []string{"c"}) && !s.Anonymous || partial.Cause != nil {
		t.Errorf("the error is %v", err)
	}
	if !slices.Equal(found, []string{"b's"}) {
		t.Errorf("found %q", found)
	}
	if !s.Anonymous {
		meet(t, clusters[:2])
	}
	if err := spaces[0].Link.Call(ctx, &adapter.Message{Kind: adapter.Count}, func(*adapter.Answer) {}); err != nil {
		t.Errorf("after its death: %v", err)
	}
}
