//go:build linux

package load

import (
	"fmt"
	"testing"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/internal/rooms"
)

// Leaving a room of 100,000 members and joining again costs no more than with a room of 10. If the
// cost grew with the room's size, it would be hundreds of times as much.
func TestLargeRoomsAreLeftAsFast(t *testing.T) {
	const large, small, times = 100_000, 10, 1000
	x := rooms.New[int]()
	members := make([]*rooms.Member[int], large)
	ofLarge := func(int) string { return "large" }
	ofSmall := func(i int) string { return fmt.Sprint("small", i/small) }
	for i := range members {
		members[i] = &rooms.Member[int]{ID: fmt.Sprint("id", i), Value: i}
		x.Add(members[i])
		x.Join(members[i], ofLarge(i), 0)
		x.Join(members[i], ofSmall(i), 0)
	}
	churn := func(room func(i int) string) {
		for k := range times {
			i := k * (large / times)
			if left, _ := x.Leave(members[i], room(i)); !left {
				t.Fatalf("%s is not in %s", members[i].ID, room(i))
			}
			x.Join(members[i], room(i), 0)
		}
	}
	// microseconds returns the time for one member.
	microseconds := func(room func(i int) string) float64 {
		r := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				churn(room)
			}
		})
		return micros(r.T) / float64(r.N*times)
	}
	churn(ofSmall)
	churn(ofLarge)
	if n := len(x.Select(nil, []string{"large"}, nil)); n != large || x.Rooms() != 1+large/small {
		t.Errorf("%d members of the large room, %d rooms; want %d and %d", n, x.Rooms(), large, 1+large/small)
	}
	if *full {
		hold(t, bar.Bar{Name: "to leave a room of 100,000 and come back", Value: microseconds(ofLarge), Unit: "µs", Reference: "a room of 10", Base: microseconds(ofSmall), Most: 2})
	}
}
