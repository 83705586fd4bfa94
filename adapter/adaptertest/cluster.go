package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
)

// Servers makes the servers of a test.
type Servers struct {
	// Start returns one more server with this name. It is closed by the suite.
	Start func(name string) adapter.Cluster

	// Kill makes a server vanish without a word. Nil: this is not tested.
	Kill func(c adapter.Cluster)

	// Cut takes a server off the network, or puts it back. Nil: this is not tested.
	Cut func(c adapter.Cluster, cut bool)

	// Anonymous says that servers know neither each other's names nor whether a change was made, as on
	// the wires of Node.js.
	Anonymous bool

	// PerTopic says that only what is sent to one room keeps its order, and what is sent before and after a
	// change.
	PerTopic bool

	// Steps is how many random steps the model takes. The default is 3,000.
	Steps int
}

type clusterTest struct {
	name string
	run  func(TB, Servers)
}

var clusterTests = []clusterTest{
	{"Nodes", clusterNodes}, {"Broadcast", clusterBroadcast}, {"JoinThenHear", joinThenHear}, {"JoinThenEmit", joinThenEmit},
	{"EmitThenChange", emitThenChange},
	{"Change", clusterChange}, {"Ack", clusterAck}, {"Fetch", clusterFetch}, {"ServerEvent", clusterEvents},
	{"ForeignID", foreignID}, {"Death", clusterDeath}, {"Gap", clusterGap}, {"Model", clusterModel},
}

// RunCluster checks what a Cluster promises. start is called for each test. Each test runs in a
// function that within calls, such as synctest.Test; nil means directly.
func RunCluster(t *testing.T, within func(*testing.T, func(*testing.T)), start func(t *testing.T) Servers) {
	if within == nil {
		within = func(t *testing.T, f func(*testing.T)) { f(t) }
	}
	for _, c := range clusterTests {
		t.Run(c.name, func(t *testing.T) {
			within(t, func(t *testing.T) {
				s, end := start(t).closing()
				defer end()
				c.run(t, s)
			})
		})
	}
}

// Try runs one test of RunCluster and returns how it failed, or nil. It proves that a test can fail.
func Try(name string, s Servers) error {
	i := slices.IndexFunc(clusterTests, func(c clusterTest) bool { return c.name == name })
	var r recorder
	done := make(chan struct{})
	s, end := s.closing()
	defer end()
	go func() {
		defer close(done)
		clusterTests[i].run(&r, s)
	}()
	<-done
	return errors.Join(r...)
}

// recorder is a TB that collects failures.
type recorder []error

func (r *recorder) Helper()                           {}
func (r *recorder) Errorf(format string, args ...any) { *r = append(*r, fmt.Errorf(format, args...)) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (s Servers) closing() (_ Servers, end func()) {
	var all []adapter.Cluster
	start := s.Start
	s.Start = func(name string) adapter.Cluster {
		c := start(name)
		all = append(all, c)
		return c
	}
	return s, func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
}

// three starts three servers that know each other, with a namespace each.
func three(t TB, s Servers) (clusters []adapter.Cluster, spaces []*Space) {
	t.Helper()
	for _, name := range []string{"a", "b", "c"} {
		c := s.Start(name)
		clusters, spaces = append(clusters, c), append(spaces, NewSpace(c, "/"))
	}
	if !s.Anonymous {
		meet(t, clusters)
	}
	flush(t, spaces)
	return clusters, spaces
}

func meet(t TB, clusters []adapter.Cluster) {
	t.Helper()
	for _, c := range clusters {
		Eventually(t, "each server knows the others", func() bool { return len(c.Nodes()) == len(clusters) })
	}
}

// flush waits until each server has received what the others have sent.
func flush(t TB, spaces []*Space) {
	t.Helper()
	for _, from := range spaces {
		if err := from.SocketsLeave(in(flushRoom), "nothing"); err != nil { // what was sent before comes before it
			t.Fatalf("leave: %v", err)
		}
		text := from.marker()
		for _, to := range spaces {
			var last time.Time // the first marker may come before a server listens
			Eventually(t, "what was sent arrives", func() bool {
				if now := time.Now(); now.Sub(last) > time.Second {
					last = now
					emit(t, from, in(flushRoom), text)
				}
				return to.flushed(text)
			})
		}
	}
}

func all() adapter.Selection               { return adapter.Selection{} }
func in(rooms ...string) adapter.Selection { return adapter.Selection{Rooms: rooms} }
func emit(t TB, s *Space, to adapter.Selection, data string) {
	t.Helper()
	if err := s.Emit(to, data); err != nil {
		t.Fatalf("emit: %v", err)
	}
}

// heard fails unless the socket has received exactly these.
func heard(t TB, k *Socket, want ...string) {
	t.Helper()
	if got := k.Heard(); !slices.Equal(got, want) {
		t.Errorf("%s received %q, not %q", k.id, got, want)
	}
}

func patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func clusterNodes(t TB, s Servers) {
	if s.Anonymous {
		return
	}
	clusters, spaces := three(t, s)
	spaces[1].Connect("one")
	spaces[1].Connect("two")
	for i, c := range clusters {
		nodes := c.Nodes()
		if nodes[0].Name != c.Self().Name || nodes[0].ID != c.Self().ID {
			t.Errorf("the first of %v is not the server itself", nodes)
		}
		var names []string
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		if slices.Sort(names); !slices.Equal(names, []string{"a", "b", "c"}) {
			t.Errorf("server %d knows %q", i, names)
		}
		Eventually(t, "the number of sockets is known", func() bool {
			return slices.ContainsFunc(c.Nodes(), func(n adapter.Node) bool { return n.Name == "b" && n.Sockets == 2 })
		})
	}
	if err := clusters[2].Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	meet(t, clusters[:2])
	heardOf := spaces[0].Connect("still")
	emit(t, spaces[1], all(), "1")
	Eventually(t, "those that stay hear each other", func() bool { return len(heardOf.Heard()) == 1 })
	if err := spaces[2].Emit(all(), "x"); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("publishing after Close: %v", err)
	}
	ctx, cancel := patient()
	defer cancel()
	if err := spaces[2].Link.Call(ctx, &adapter.Message{Kind: adapter.Count}, func(*adapter.Answer) {}); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
}

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

// Whoever was cut off learns that it missed something, and hears everything again.
func clusterGap(t TB, s Servers) {
	if s.Cut == nil {
		return
	}
	clusters, spaces := three(t, s)
	k := spaces[2].Connect("k")
	k.Join("room")
	emit(t, spaces[0], in("room"), "before")
	flush(t, spaces)
	before := spaces[2].Gaps()
	s.Cut(clusters[2], true)
	emit(t, spaces[0], in("room"), "lost")
	flush(t, spaces[:2])
	own := spaces[2].Connect("own")
	_ = spaces[2].Emit(in("own"), "local") // the bus may refuse it; the sockets here have it
	heard(t, own, "local")
	s.Cut(clusters[2], false)
	Eventually(t, "it learns of the gap", func() bool { return spaces[2].Gaps() > before })
	meet(t, clusters)
	flush(t, spaces)
	emit(t, spaces[0], in("room"), "after")
	flush(t, spaces)
	heard(t, k, "before", "after")
}

// Random joins, leaves and broadcasts do what the model says.
func clusterModel(t TB, s Servers) {
	steps := s.Steps
	if steps == 0 {
		steps = 3000
	}
	_, spaces := three(t, s)
	random := rand.New(rand.NewPCG(7, uint64(steps)))
	const rooms = 12
	var sockets []*Socket
	for i, sp := range spaces {
		for j := range 4 {
			sockets = append(sockets, sp.Connect(fmt.Sprintf("socket %d/%d", i, j)))
		}
	}
	model := make([]map[string]bool, len(sockets))
	want := make([]map[stream][]string, len(sockets))
	for i, k := range sockets {
		model[i], want[i] = map[string]bool{k.id: true}, map[stream][]string{}
	}
	streams := map[string]stream{} // of each text
	streamOf := func(from int, to adapter.Selection) (of stream) {
		of.from = from
		if s.PerTopic && len(to.Rooms) == 1 {
			of.room = to.Rooms[0]
		}
		return of
	}
	step := 0
	room := func() string { return fmt.Sprint("room ", step/50+random.IntN(rooms)) } // there are always new ones
	anyRoom := func() string {
		if random.IntN(6) == 0 {
			return sockets[random.IntN(len(sockets))].id
		}
		return room()
	}
	some := func(most int) (names []string) {
		for range random.IntN(most + 1) {
			names = append(names, anyRoom())
		}
		return names
	}
	matches := func(i int, sel adapter.Selection) bool {
		is := func(room string) bool { return model[i][room] }
		return (len(sel.Rooms) == 0 || slices.ContainsFunc(sel.Rooms, is)) && !slices.ContainsFunc(sel.Except, is)
	}
	sent := false
	for ; step < steps; step++ {
		switch random.IntN(8) {
		case 0, 1, 2: // a change: what was sent before must have arrived
			if sent {
				flush(t, spaces)
				sent = false
			}
			for range 1 + random.IntN(4) {
				i, room := random.IntN(len(sockets)), room()
				if random.IntN(5) < 2 {
					sockets[i].Join(room)
					model[i][room] = true
				} else {
					sockets[i].Leave(room)
					delete(model[i], room)
				}
			}
		case 3: // and one for all servers, followed by an event
			if sent {
				flush(t, spaces)
			}
			from, which, room := random.IntN(len(spaces)), adapter.Selection{Rooms: some(2)}, room()
			if err := spaces[from].SocketsJoin(which, room); err != nil {
				t.Fatalf("join: %v", err)
			}
			for i := range sockets {
				if matches(i, which) {
					model[i][room] = true
				}
			}
			text := fmt.Sprintf("%d %d joined", from, step)
			emit(t, spaces[from], in(room), text)
			of := streamOf(from, in(room))
			streams[text] = of
			for i := range sockets {
				if model[i][room] {
					want[i][of] = append(want[i][of], text)
				}
			}
			flush(t, spaces)
			sent = false
		default:
			from, to := random.IntN(len(spaces)), adapter.Selection{Rooms: some(2), Except: some(1)}
			text := fmt.Sprintf("%d %d", from, step)
			emit(t, spaces[from], to, text)
			sent = true
			of := streamOf(from, to)
			streams[text] = of
			for i := range sockets {
				if matches(i, to) {
					want[i][of] = append(want[i][of], text)
				}
			}
		}
	}
	flush(t, spaces)
	for i, k := range sockets {
		got := map[stream][]string{}
		for _, text := range k.Heard() {
			of := streams[text]
			got[of] = append(got[of], text)
		}
		for _, of := range slices.Concat(slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want[i]))) {
			if !slices.Equal(got[of], want[i][of]) {
				t.Fatalf("%s received %d from server %d, and should have received %d: %s", k.id, len(got[of]), of.from, len(want[i][of]),
					difference(got[of], want[i][of]))
			}
		}
	}
}

// stream is what keeps its order.
type stream struct {
	from int
	room string // if the order is one of each room
}

// difference describes the first difference.
func difference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%q is missing", want[i])
		case i >= len(want):
			return fmt.Sprintf("%q is too many", got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("%q instead of %q", got[i], want[i])
		}
	}
	return "none"
}
