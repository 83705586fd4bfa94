package rooms_test

import (
	"fmt"
	"testing"

	"github.com/parley-go/parley/internal/rooms"
)

// BenchmarkSelect selects the members of a room of 10,000, all of them but one, and the members of
// two rooms.
func BenchmarkSelect(b *testing.B) {
	const size = 10_000
	x := rooms.New[int]()
	for i := range size {
		m := &rooms.Member[int]{ID: fmt.Sprint("id", i), Value: i}
		x.Add(m)
		x.Join(m, "a", 0)
		if i%2 == 0 {
			x.Join(m, "b", 0)
		}
	}
	dst := make([]int, 0, size)
	for _, bench := range []struct {
		name       string
		in, except []string
		want       int
	}{
		{"room", []string{"a"}, nil, size},
		{"but_for_one", []string{"a"}, []string{"id7"}, size - 1},
		{"two_rooms", []string{"a", "b"}, nil, size},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst = x.Select(dst[:0], bench.in, bench.except)
			}
			if len(dst) != bench.want {
				b.Fatalf("%d members, want %d", len(dst), bench.want)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/member")
		})
	}
}
