package driver

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/notice"
)

// shared is what the lanes of a bus have in common.
type shared struct {
	board  *notice.Board
	queued atomic.Int64 // bytes that wait to be sent

	// calls is held while a listener or watcher is called.
	calls sync.Mutex

	watching sync.Mutex
	watchers map[int]func(adapter.State)
	next     int
	down     int // lanes that are down
}

// Lanes returns Cores that are one bus together. Each keeps a connection of its own, so that one that hangs
// concerns no other lanes: it can fill three quarters of the queue. They have the same watchers, who
// see Down while a lane is, and Lost when one is back before the others. All lanes together make one call
// at a time.
func Lanes[T comparable](o Options, n int) []*Core[T] {
	o.MaxQueue = cmp.Or(o.MaxQueue, MaxQueue)
	o.MaxAge = cmp.Or(o.MaxAge, MaxAge)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	most := o.MaxQueue
	if n > 1 {
		most = o.MaxQueue / 4 * 3
	}
	common := &shared{board: notice.New(o.Logger), watchers: map[int]func(adapter.State){}}
	lanes := make([]*Core[T], n)
	for i := range lanes {
		late, giveUp := context.WithCancel(context.Background())
		lanes[i] = &Core[T]{
			Options: o, shared: common, most: most, late: late, giveUp: giveUp, closing: make(chan struct{}), done: make(chan struct{}),
			waiting: make(chan struct{}, 1), stirred: make(chan struct{}, 1), topics: map[T]*topic[T]{}, dirty: map[T]struct{}{},
		}
	}
	return lanes
}

// Watch calls f when the state of the bus changes, as adapter.Bus does.
func (s *shared) Watch(f func(adapter.State)) (stop func()) {
	s.watching.Lock()
	defer s.watching.Unlock()
	id := s.next
	s.next++
	s.watchers[id] = f
	return func() {
		s.watching.Lock()
		defer s.watching.Unlock()
		delete(s.watchers, id)
	}
}

// Tell calls the watchers with news of a lane.
func (s *shared) Tell(news adapter.State) {
	s.calls.Lock()
	defer s.calls.Unlock()
	s.watching.Lock()
	var all []func(adapter.State)
	for id := range s.next {
		if f := s.watchers[id]; f != nil {
			all = append(all, f)
		}
	}
	switch news {
	case adapter.Down:
		if s.down++; s.down > 1 {
			all = nil // they know
		}
	case adapter.Up:
		if s.down--; s.down > 0 {
			news = adapter.Lost
		}
	}
	s.watching.Unlock()
	for _, f := range all {
		f(news)
	}
}
