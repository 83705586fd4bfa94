package historytest_test

import (
	"context"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

func TestMemoryShared(t *testing.T) {
	historytest.RunShared(t, func(t testing.TB) []history.Store {
		store := openMemory(t)
		return []history.Store{store, store}
	})
}

// hasty is a store that shows a change a moment after one with a larger number, as one with a sequence does.
type hasty struct {
	*history.Memory
	hidden *int64
}

func (s hasty) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (history.ChangedRooms, error) {
	changed, err := s.Memory.ChangedRooms(ctx, after, limit, by)
	if n := len(changed.Rooms); err == nil && n > 1 && *s.hidden == 0 {
		*s.hidden = changed.Rooms[0].Change
		changed.Rooms = changed.Rooms[1:]
	}
	return changed, err
}

func TestSharedCatches(t *testing.T) {
	store := history.NewMemory()
	defer store.Close()
	for range 20 { // at least two rooms must have changed between two reads
		s := hasty{store, new(int64)}
		err := historytest.CheckRoomsOrder([]history.Store{s, s})
		if *s.hidden != 0 {
			if err == nil {
				t.Error("a change that came late was not missed")
			}
			return
		}
		store = history.NewMemory()
	}
	t.Error("no two rooms changed between two reads")
}
