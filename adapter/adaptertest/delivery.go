package adaptertest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/parley-go/parley/adapter"
)

func clusterBroadcast(t TB, s Servers) {
	_, spaces := three(t, s)
	var sockets []*Socket
	for i, sp := range spaces {
		k := sp.Connect(fmt.Sprint("socket ", i))
		k.Join("everybody", fmt.Sprint("room ", i))
		if i > 0 {
			k.Join("some")
		}
		sockets = append(sockets, k)
	}
	a := spaces[0]
	emit(t, a, all(), "all")
	emit(t, a, in("everybody"), "everybody")
	emit(t, a, in("some"), "some")
	emit(t, a, in("room 0", "room 2"), "0 and 2")
	emit(t, a, in("nobody"), "nobody")
	emit(t, a, in("socket 1"), "socket 1")
	emit(t, a, adapter.Selection{Except: []string{"some"}}, "except some")
	emit(t, a, adapter.Selection{Rooms: []string{"everybody"}, Except: []string{"socket 0", "room 2"}}, "everybody except 0 and 2")
	m := &adapter.Message{Kind: adapter.Broadcast, Data: []byte(`["event","binary",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]`), Attachments: [][]byte{{1, 2}, {}, {0xff}}}
	a.Deliver(m)
	if err := a.Link.Publish(m); err != nil {
		t.Fatalf("publish: %v", err)
	}
	flush(t, spaces)
	for i, want := range [][]string{
		{"all", "everybody", "0 and 2", "except some", "binary 0102  ff"},
		{"all", "everybody", "some", "socket 1", "everybody except 0 and 2", "binary 0102  ff"},
		{"all", "everybody", "some", "0 and 2", "binary 0102  ff"},
	} {
		got := sockets[i].Heard()
		if s.PerTopic {
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("socket %d received %q, not %q", i, got, want)
		}
	}
}

// What is sent before sockets leave or are disconnected reaches them; what is sent after does not.
func emitThenChange(t TB, s Servers) {
	_, spaces := three(t, s)
	const rounds = 30
	for i := range rounds {
		for j, sp := range spaces {
			sp.Connect(fmt.Sprint("k", i, "/", j)).Join(fmt.Sprint("before ", i), fmt.Sprint("after ", i))
		}
	}
	flush(t, spaces)
	for i := range rounds {
		before, after := in(fmt.Sprint("before ", i)), in(fmt.Sprint("after ", i))
		emit(t, spaces[0], before, "1")
		emit(t, spaces[0], after, "2")
		if err := spaces[0].SocketsLeave(before, before.Rooms...); err != nil {
			t.Fatalf("leave: %v", err)
		}
		emit(t, spaces[0], before, "nobody")
		emit(t, spaces[0], after, "3")
	}
	flush(t, spaces)
	for j, sp := range spaces {
		for i := range rounds {
			k := sp.socket(fmt.Sprint("k", i, "/", j))
			if got := k.Heard(); s.PerTopic {
				slices.Sort(got[:min(2, len(got))])
				if !slices.Equal(got, []string{"1", "2", "3"}) {
					t.Errorf("%s received %q", k.id, got)
				}
			} else {
				heard(t, k, "1", "2", "3")
			}
		}
	}
}

// Rule J: what is sent after a socket has joined, it receives.
func joinThenHear(t TB, s Servers) {
	_, spaces := three(t, s)
	for i := range 30 {
		room := fmt.Sprint("joined ", i)
		k := spaces[1].Connect(fmt.Sprint("k", i))
		k.Join(room)
		emit(t, spaces[0], in(room), "1")
		defer func() {
			if got := k.Heard(); !slices.Equal(got, []string{"1"}) {
				t.Errorf("after joining %s, the socket received %q", room, got)
			}
		}()
	}
	flush(t, spaces)
}

// Rule W: what is sent after SocketsJoin reaches those who have joined because of it.
func joinThenEmit(t TB, s Servers) {
	_, spaces := three(t, s)
	for i, sp := range spaces {
		sp.Connect(fmt.Sprint("crowd ", i)).Join("crowd")
	}
	for i := range 30 {
		room := fmt.Sprint("gathered ", i)
		if err := spaces[0].SocketsJoin(in("crowd"), room); err != nil {
			t.Fatalf("join: %v", err)
		}
		emit(t, spaces[0], in(room), room)
	}
	flush(t, spaces)
	for i, sp := range spaces {
		var want []string
		for j := range 30 {
			want = append(want, fmt.Sprint("gathered ", j))
		}
		heard(t, sp.socket(fmt.Sprint("crowd ", i)), want...)
	}
}

func clusterChange(t TB, s Servers) {
	_, spaces := three(t, s)
	var sockets []*Socket
	for i, sp := range spaces {
		k := sp.Connect(fmt.Sprint("k", i))
		k.Join("old", "other")
		sockets = append(sockets, k)
	}
	if err := errors.Join(
		spaces[0].SocketsJoin(all(), "new"),
		spaces[0].SocketsLeave(in("old"), "other", "unknown"),
		spaces[1].SocketsJoin(in("k2"), "private"),
	); err != nil {
		t.Fatalf("change: %v", err)
	}
	flush(t, spaces)
	for i, k := range sockets {
		want := []string{"new", "old"}
		if i == 2 {
			want = append(want, "private")
		}
		if got := k.Rooms(); !slices.Equal(got, want) {
			t.Errorf("k%d is in %q, not %q", i, got, want)
		}
	}
	ctx, cancel := patient()
	defer cancel()
	answers := 0
	m := &adapter.Message{Kind: adapter.Join, Selection: in("old"), Targets: []string{"confirmed"}}
	if err := spaces[2].Link.Call(ctx, m, func(*adapter.Answer) { answers++ }); err != nil || answers != 2 && !s.Anonymous {
		t.Errorf("a join that is confirmed: %d answers, %v", answers, err)
	}
	if s.Anonymous {
		flush(t, spaces)
	}
	for i, k := range sockets[:2] {
		if !slices.Contains(k.Rooms(), "confirmed") {
			t.Errorf("k%d has not joined, although its server said so", i)
		}
	}
	if err := spaces[0].Link.Publish(&adapter.Message{Kind: adapter.Disconnect, Selection: in("k1")}); err != nil {
		t.Fatalf("disconnect: %v", err)
	}
	flush(t, spaces)
	if spaces[1].socket("k1") != nil || spaces[2].socket("k2") == nil {
		t.Errorf("not only k1 was disconnected")
	}
}

// The id of a socket names its server. Others may still be in the room with that name.
func foreignID(t TB, s Servers) {
	clusters, spaces := three(t, s)
	id := "abcdefghijklmnopqrst." + clusters[1].Self().Tag
	owner := spaces[1].Connect(id)
	guest := spaces[2].Connect("guest")
	emit(t, spaces[0], in(id), "1")
	flush(t, spaces)
	guest.Join(id)
	emit(t, spaces[0], in(id), "2")
	flush(t, spaces)
	emit(t, spaces[1], in(id), "3")
	flush(t, spaces)
	guest.Leave(id)
	emit(t, spaces[0], in(id), "4")
	flush(t, spaces)
	heard(t, guest, "2", "3")
	Eventually(t, "all of the socket's own", func() bool { return len(owner.Heard()) == 4 })
	if got := slices.Sorted(slices.Values(owner.Heard())); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("the socket received %q", got)
	}
}
