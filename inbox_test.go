package parley

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// The server reads from a client whose inboxes are empty, whatever the order in which its events
// arrived and were handled.
func TestPauseEndsWithEmptyInboxes(t *testing.T) {
	const limit, rounds = 1000, 200_000
	srv, err := New(&Options{MaxInboxBytes: limit})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := &connection{srv: srv, awaited: 1} // so it never pauses, and needs no session
	var handled atomic.Int64
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for range rounds {
			for c.inboxed.Load() == 0 {
				runtime.Gosched()
			}
			c.weigh(-2*limit, false)
			handled.Add(1)
		}
	})
	stuck := 0
	for i := range int64(rounds) {
		c.weigh(2*limit, false)
		for handled.Load() <= i {
			runtime.Gosched()
		}
		if c.crowded.Swap(false) {
			stuck++
		}
	}
	handlers.Wait()
	if stuck > 0 {
		t.Errorf("in %d of %d rounds, the inboxes were empty and the server did not read", stuck, rounds)
	}
}
