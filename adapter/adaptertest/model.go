package adaptertest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/soak"
)

// Random joins, leaves and broadcasts do what the model says.
func clusterModel(t TB, s Servers) {
	steps := s.Steps
	if steps == 0 {
		steps = 3000
	}
	steps *= soak.Times(1, 34) // 1e5
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
