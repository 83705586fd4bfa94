package fifo_test

import (
	"slices"
	"testing"

	"github.com/parley-go/parley/internal/fifo"
	"pgregory.net/rapid"
)

func TestQueueAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q fifo.Queue[int]
		var model []int
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2, 3, 4:
				v := rapid.Int().Draw(t, "v")
				q.Push(v)
				model = append(model, v)
			case 5:
				q.Truncate()
				model = model[:min(1, len(model))]
			default:
				if len(model) == 0 {
					continue
				}
				if got := q.Peek(); got != model[0] {
					t.Fatalf("Peek = %d, want %d", got, model[0])
				}
				if got := q.Pop(); got != model[0] {
					t.Fatalf("Pop = %d, want %d", got, model[0])
				}
				model = model[1:]
			}
			wanted := rapid.Int().Draw(t, "wanted")
			if len(model) > 0 && rapid.Bool().Draw(t, "is there") {
				wanted = rapid.SampledFrom(model).Draw(t, "wanted")
			}
			is := func(v int) bool { return v == wanted }
			if got := q.Some(is); got != slices.ContainsFunc(model, is) {
				t.Fatalf("Some = %v", got)
			}
			if q.Len() != len(model) {
				t.Fatalf("Len = %d, want %d", q.Len(), len(model))
			}
		}
	})
}

func TestOneElementNeedsNoMemory(t *testing.T) {
	var q fifo.Queue[*int]
	v := new(int)
	if n := testing.AllocsPerRun(100, func() { q.Push(v); q.Pop() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
