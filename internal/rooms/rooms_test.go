package rooms_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/rooms"
	"pgregory.net/rapid"
)

type set map[string]bool

// model is the index as plain maps: the rooms of each member, including its own.
type model map[string]set

func (m model) in(room string) (members []string) {
	for id, rooms := range m {
		if rooms[room] {
			members = append(members, id)
		}
	}
	return members
}

func (m model) selected(rooms, except []string) []string {
	var ids []string
	for id, in := range m {
		isIn := func(room string) bool { return in[room] }
		if slices.ContainsFunc(rooms, isIn) && !slices.ContainsFunc(except, isIn) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (m model) without(except []string) []string {
	var ids []string
	for id, in := range m {
		if !slices.ContainsFunc(except, func(room string) bool { return in[room] }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// occupied counts the rooms that have a member other than their owner.
func (m model) occupied() int {
	all := set{}
	for id, rooms := range m {
		for room := range rooms {
			if room != id {
				all[room] = true
			}
		}
	}
	return len(all)
}

func TestIndexAgainstModel(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e", "f"}
	names := append([]string{"", "lobby", "r1", "r2", "r3", "nobody"}, ids...) // others can join a member's own room
	rapid.Check(t, func(t *rapid.T) {
		x := rooms.New[string]()
		members := map[string]*rooms.Member[string]{}
		m := model{}
		member := rapid.SampledFrom(ids)
		room := rapid.SampledFrom(names)
		some := rapid.SliceOfN(room, 0, 4)
		t.Repeat(map[string]func(*rapid.T){
			"Add": func(t *rapid.T) {
				id := member.Draw(t, "id")
				if m[id] != nil {
					return
				}
				members[id] = &rooms.Member[string]{ID: id, Value: id}
				x.Add(members[id])
				m[id] = set{id: true}
			},
			"Remove": func(t *rapid.T) {
				id := member.Draw(t, "id")
				if members[id] == nil {
					return
				}
				left, emptied := x.Remove(members[id])
				var wantLeft, wantEmptied []string
				for r := range m[id] {
					wantLeft = append(wantLeft, r)
					if len(m.in(r)) == 1 {
						wantEmptied = append(wantEmptied, r)
					}
				}
				wantSame(t, "left", left, wantLeft)
				wantSame(t, "emptied", emptied, wantEmptied)
				if m[id][id] && left[len(left)-1] != id {
					t.Errorf("left %q, want %q last", left, id)
				}
				delete(m, id)
			},
			"Join": func(t *rapid.T) {
				id, r := member.Draw(t, "id"), room.Draw(t, "room")
				limit := rapid.IntRange(0, 3).Draw(t, "limit")
				if members[id] == nil {
					return
				}
				others := len(m[id])
				if m[id][id] {
					others--
				}
				joined, created, ok := x.Join(members[id], r, limit)
				wantOK := m[id] == nil || m[id][r] || r == id || limit == 0 || others < limit
				wantJoined := wantOK && m[id] != nil && !m[id][r]
				wantCreated := wantJoined && len(m.in(r)) == 0
				if joined != wantJoined || created != wantCreated || ok != wantOK {
					t.Errorf("Join(%q, %q, %d) = %v, %v, %v, want %v, %v, %v", id, r, limit, joined, created, ok, wantJoined, wantCreated, wantOK)
				}
				if wantJoined {
					m[id][r] = true
				}
			},
			"Leave": func(t *rapid.T) {
				id, r := member.Draw(t, "id"), room.Draw(t, "room")
				if members[id] == nil {
					return
				}
				left, emptied := x.Leave(members[id], r)
				wantLeft := m[id][r]
				wantEmptied := wantLeft && len(m.in(r)) == 1
				if left != wantLeft || emptied != wantEmptied {
					t.Errorf("Leave(%q, %q) = %v, %v, want %v, %v", id, r, left, emptied, wantLeft, wantEmptied)
				}
				delete(m[id], r)
			},
			"Select": func(t *rapid.T) {
				in, except := some.Draw(t, "rooms"), some.Draw(t, "except")
				got := x.Select([]string{"kept"}, in, except)
				if got[0] != "kept" {
					t.Errorf("Select has overwritten dst: %q", got)
				}
				wantSame(t, fmt.Sprintf("Select(%q, %q)", in, except), got[1:], m.selected(in, except))
			},
			"All": func(t *rapid.T) {
				except := some.Draw(t, "except")
				wantSame(t, fmt.Sprintf("All(%q)", except), x.All(nil, except), m.without(except))
			},
			"": func(t *rapid.T) {
				if x.Len() != len(m) || x.Rooms() != m.occupied() {
					t.Errorf("%d members, %d rooms, want %d, %d", x.Len(), x.Rooms(), len(m), m.occupied())
				}
				for id, member := range members {
					v, ok := x.Get(id)
					if ok != (m[id] != nil) || ok && v != id {
						t.Errorf("Get(%q) = %q, %v", id, v, ok)
					}
					var want []string
					for _, r := range names {
						if member.In(r) != m[id][r] {
							t.Errorf("%q in %q: %v", id, r, member.In(r))
						}
						if m[id][r] {
							want = append(want, r)
						}
					}
					got := member.Rooms()
					wantSame(t, id+"'s rooms", got, want)
					if m[id][id] && got[0] != id {
						t.Errorf("%q's rooms: %q, want its own first", id, got)
					}
				}
			},
		})
	})
}

func wantSame(t *rapid.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// Some goroutines add, join, leave and remove members while others select. Every selected value
// must be a member, each once, and the index must be empty in the end.
func TestConcurrentUse(t *testing.T) {
	x := rooms.New[int]()
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := x.Select(nil, []string{"even", "all", "m3"}, []string{"third"})
				slices.Sort(got)
				if len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Errorf("selected twice: %v", got)
				}
				x.Rooms()
			}
		})
	}
	for w := range 4 {
		writers.Go(func() {
			for i := range 300 {
				n := 4*i + w
				m := &rooms.Member[int]{ID: fmt.Sprint("m", n%20, "/", n), Value: n}
				x.Add(m)
				x.Join(m, "all", 0)
				x.Join(m, fmt.Sprint("m", (n+1)%20, "/", n+1), 0) // another member's own room
				if n%2 == 0 {
					x.Join(m, "even", 0)
				}
				if n%3 == 0 {
					x.Join(m, "third", 0)
					x.Leave(m, m.ID)
				}
				var both sync.WaitGroup
				both.Go(func() { x.Leave(m, "all") })
				both.Go(func() { x.Remove(m) })
				both.Wait()
				if joined, _, ok := x.Join(m, "all", 0); joined || !ok {
					t.Error("joined after Remove")
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if x.Len() != 0 || x.Rooms() != 0 || len(x.All(nil, nil)) != 0 {
		t.Errorf("%d members and %d rooms are left", x.Len(), x.Rooms())
	}
}

func TestSelectDoesNotAllocateForOneRoom(t *testing.T) {
	x := rooms.New[int]()
	for i := range 100 {
		m := &rooms.Member[int]{ID: fmt.Sprint(i), Value: i}
		x.Add(m)
		x.Join(m, "r", 0)
	}
	dst := make([]int, 0, 100)
	in, except := []string{"r"}, []string{"7"}
	if n := testing.AllocsPerRun(100, func() { dst = x.Select(dst[:0], in, nil) }); n != 0 || len(dst) != 100 {
		t.Errorf("%v allocations for %d members, want 0", n, len(dst))
	}
	if n := testing.AllocsPerRun(100, func() { dst = x.Select(dst[:0], in, except) }); n != 0 || len(dst) != 99 {
		t.Errorf("all except one: %v allocations for %d members, want 0", n, len(dst))
	}
}
