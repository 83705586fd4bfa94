package adapter_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
)

// Servers of which some send by one protocol and some by another, while all receive by both, are one cluster.
func TestBoth(t *testing.T) {
	adaptertest.RunCluster(t, synctest.Test, func(t *testing.T) adaptertest.Servers {
		one, other := servers(t, nil), servers(t, nil)
		parts := map[adapter.Cluster][2]adapter.Cluster{}
		return adaptertest.Servers{
			Start: func(name string) adapter.Cluster {
				a, b := one.Start(name), other.Start(name)
				c := adapter.Both(a, b)
				if name == "b" {
					c = adapter.Both(b, a)
				}
				parts[c] = [2]adapter.Cluster{a, b}
				return c
			},
			Kill: func(c adapter.Cluster) {
				one.Kill(parts[c][0])
				other.Kill(parts[c][1])
			},
			Cut: func(c adapter.Cluster, cut bool) {
				one.Cut(parts[c][0], cut)
				other.Cut(parts[c][1], cut)
			},
		}
	})
}

// At each step of a change from one protocol to another, servers that have taken it and servers that have not hear
// each other, and nothing twice.
func TestChangeOfProtocol(t *testing.T) {
	steps := []struct {
		name string
		make func(from, to adapter.Cluster) adapter.Cluster
	}{
		{"old", func(from, _ adapter.Cluster) adapter.Cluster { return from }},
		{"receives the new one", func(from, to adapter.Cluster) adapter.Cluster { return adapter.Both(from, to) }},
		{"sends the new one", func(from, to adapter.Cluster) adapter.Cluster { return adapter.Both(to, from) }},
		{"new", func(_, to adapter.Cluster) adapter.Cluster { return to }},
	}
	for i := range steps[1:] {
		before, after := steps[i], steps[i+1]
		t.Run(after.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, other := adapter.NewMemory(), adapter.NewMemory()
				var spaces []*adaptertest.Space
				var sockets []*adaptertest.Socket
				for name, step := range map[string]func(from, to adapter.Cluster) adapter.Cluster{"a": before.make, "b": after.make} {
					s := adaptertest.NewSpace(step(connect(t, one.Connect(), name), connect(t, other.Connect(), name)), "/")
					k := s.Connect(name)
					k.Join("room")
					spaces, sockets = append(spaces, s), append(sockets, k)
				}
				time.Sleep(time.Second)
				in := adapter.Selection{Rooms: []string{"room"}}
				for _, s := range spaces {
					if err := s.Emit(in, "hello"); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				for i, s := range spaces {
					if got := sockets[i].Heard(); !slices.Equal(got, []string{"hello", "hello"}) {
						t.Errorf("a server received %q", got)
					}
					members := 0
					if err := s.Link.Call(t.Context(), &adapter.Message{Kind: adapter.Count, Selection: in}, func(a *adapter.Answer) { members += a.Count }); err != nil || members != 1 {
						t.Errorf("%d members on the other server, %v", members, err)
					}
				}
			})
		})
	}
}

// While one of the two protocols has no room for tags, ids have none.
func TestBothTags(t *testing.T) {
	tagged, untagged := connect(t, adapter.NewMemory().Connect(), "a"), noTags{}
	for _, c := range []adapter.Cluster{adapter.Both(tagged, untagged), adapter.Both(untagged, tagged)} {
		if !c.(adapter.Untagger).UntaggedSockets() {
			t.Error("ids of sockets have tags")
		}
	}
	if adapter.Both(tagged, tagged).(adapter.Untagger).UntaggedSockets() {
		t.Error("ids of sockets have no tags")
	}
	if _, ok := adapter.Both(tagged, tagged).(adapter.Exchange); ok {
		t.Error("sessions would move to servers that do not know them")
	}
}

type noTags struct{ adapter.Cluster }

func (noTags) UntaggedSockets() bool { return true }
