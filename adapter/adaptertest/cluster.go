package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
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
