package reactor_test

import (
	"testing"

	"github.com/parley-go/parley/internal/reactor"
)

// A round says which of ten connections are ready.
func TestPacing(t *testing.T) {
	burst := func(i int) []int { return []int{i / 4 % 10} } // four messages from one connection, then four from the next
	for _, tt := range []struct {
		name  string
		round func(i int) []int
		waits bool
	}{
		{"bursts", burst, true},
		{"bursts, now and then idle", func(i int) []int {
			if i%4 == 3 {
				return nil
			}
			return burst(i)
		}, true},
		{"bursts, idle half of the time", func(i int) []int {
			if i%2 == 1 {
				return nil
			}
			return burst(i / 2)
		}, false},
		{"one message each in turn", func(i int) []int { return []int{i % 10} }, false},
		{"always all of them", func(int) []int { return []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9} }, false},
		{"idle", func(int) []int { return nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, waits := reactor.NewPacing(10), 0
			for i := range 2000 {
				if p.Round(tt.round(i)) {
					waits++
				}
			}
			if (waits > 1000) != tt.waits || !tt.waits && waits > 0 {
				t.Errorf("waited before %d of 2000 rounds", waits)
			}
		})
	}
}

func TestPacingEndsWithTheBursts(t *testing.T) {
	p, waits := reactor.NewPacing(10), 0
	for range 1000 {
		p.Round([]int{0})
	}
	for i := range 1000 {
		if p.Round([]int{i % 10}) {
			waits++
		}
	}
	if waits > 40 {
		t.Errorf("waited before %d rounds after the last burst", waits)
	}
}
