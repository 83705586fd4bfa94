package historytest_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openMemory(t testing.TB) history.Store {
	store := history.NewMemory()
	t.Cleanup(func() { store.Close() })
	return store
}

func TestMemory(t *testing.T) { historytest.Run(t, openMemory) }

func TestMemoryRecords(t *testing.T) { historytest.RunRecords(t, openMemory) }

// bounded is a store that changes limits or pages.
type bounded struct {
	history.Store
	limit func(history.Limit) history.Limit
	page  func(*history.Slice)
}

func (s bounded) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	p.Limit = s.limit(p.Limit)
	slice, err := s.Store.History(ctx, room, p)
	s.page(&slice)
	return slice, err
}

func (s bounded) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	slice, err := s.Store.Changes(ctx, room, since, s.limit(l))
	s.page(&slice)
	return slice, err
}

// Each of these stores treats the limit of bytes in a wrong way.
func TestBytesCatches(t *testing.T) {
	same, none := func(l history.Limit) history.Limit { return l }, func(*history.Slice) {}
	for name, s := range map[string]bounded{
		"no limit": {limit: func(l history.Limit) history.Limit { l.Bytes = 1 << 30; return l }, page: none},
		"no default": {limit: func(l history.Limit) history.Limit {
			if l.Bytes == 0 {
				l.Bytes = 1 << 30
			}
			return l
		}, page: none},
		"one too many": {limit: func(l history.Limit) history.Limit { l.Bytes += 1300; return l }, page: none},
		"nothing if it is large": {limit: same, page: func(s *history.Slice) {
			if len(s.Messages) == 1 && len(s.Messages[0].Message) > 10_000 {
				s.Messages = s.Messages[:0]
			}
		}},
		"does not say that there is more": {limit: same, page: func(s *history.Slice) { s.MoreAfter = false }},
		"says that it is complete":        {limit: same, page: func(s *history.Slice) { s.UpTo = min(s.UpTo*s.Head, s.Head) }},
	} {
		s.Store = openMemory(t)
		if err := historytest.CheckBytes(s); err == nil {
			t.Errorf("%s: not caught", name)
		}
	}
	if err := historytest.CheckBytes(bounded{openMemory(t), same, none}); err != nil {
		t.Errorf("a correct store: %v", err)
	}
}
