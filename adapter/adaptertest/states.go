package adaptertest

import (
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
)

// States collects what a bus says about itself.
type States struct {
	mu  sync.Mutex
	all []adapter.State
}

// Watch begins to collect.
func Watch(b adapter.Bus) *States {
	s := &States{}
	b.Watch(func(state adapter.State) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, state)
	})
	return s
}

// Saw returns a condition: the bus has said this.
func (s *States) Saw(want adapter.State) func() bool {
	return func() bool { return s.Count(want) > 0 }
}

// Count returns how often the bus has said this.
func (s *States) Count(want adapter.State) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.all {
		if state == want {
			n++
		}
	}
	return n
}

// Hears waits until what one bus publishes to a topic arrives at another one.
func Hears(t TB, from, to adapter.Bus, topic string) {
	t.Helper()
	e := &ear{}
	l := to.Listen(topic, e.deliver)
	defer l.Close()
	<-l.Active()
	var last time.Time
	Eventually(t, "a message from bus to bus", func() bool {
		if time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			_ = from.Publish(topic, []byte("word")) // it may still be without a connection
		}
		return slices.Contains(e.all(), "word")
	})
}
