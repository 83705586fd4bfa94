package driver_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
)

// One lane alone cannot fill the queue, and all together cannot hold more than it.
func TestLanesShareTheQueue(t *testing.T) {
	lanes := driver.Lanes[string](driver.Options{MaxQueue: 400, Logger: quiet}, 3)
	for _, step := range []struct {
		lane, bytes int
		want        error
	}{
		{0, 200, nil}, {0, 101, adapter.ErrFull}, {0, 100, nil}, {0, 1, adapter.ErrFull},
		{1, 50, nil}, {1, 51, adapter.ErrFull}, {1, 50, nil}, {1, 1, adapter.ErrFull},
		{2, 300, nil}, {2, 1, adapter.ErrFull}, // one message fits into any lane
	} {
		if err := lanes[step.lane].Publish("topic", make([]byte, step.bytes)); !errors.Is(err, step.want) {
			t.Errorf("%d bytes in lane %d: %v, not %v", step.bytes, step.lane, err, step.want)
		}
	}
	sent := make(chan int, 1)
	lanes[0].Start(func(_ context.Context, batch []driver.Message) int { sent <- len(batch); return 0 }, func(func()) error {
		<-lanes[0].Done()
		return nil
	})
	if n := <-sent; n != 2 {
		t.Errorf("%d messages were sent together", n)
	}
	if err := lanes[2].Publish("topic", []byte{1}); !errors.Is(err, adapter.ErrFull) {
		t.Errorf("what another lane has sent makes this one hold more: %v", err)
	}
	lanes[0].Close()
	if err := lanes[0].Publish("topic", nil); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// lane is the connection of one.
type lane struct {
	core    *driver.Core[string]
	connect chan struct{} // lets it connect
	lose    chan error    // it is lost
}

func start(n int) (lanes []*lane, end func()) {
	for _, core := range driver.Lanes[string](driver.Options{Logger: quiet}, n) {
		l := &lane{core: core, connect: make(chan struct{}), lose: make(chan error)}
		core.Start(func(context.Context, []driver.Message) int { return 0 }, l.hear)
		lanes = append(lanes, l)
	}
	return lanes, func() {
		for _, l := range lanes {
			l.core.Close()
		}
	}
}

func (l *lane) hear(connected func()) error {
	l.core.EndWith(sync.OnceFunc(func() { l.lose <- errLost }))
	for {
		select {
		case <-l.core.Done():
			return nil
		case <-l.connect:
			connected()
		case err := <-l.lose:
			return err
		}
	}
}

// The watchers see one bus: it is down while a lane is.
func TestLanesAreOneBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lanes, end := start(3)
		defer end()
		var seen []adapter.State
		stop := lanes[1].core.Watch(func(s adapter.State) { seen = append(seen, s) })
		see := func(why string, want ...adapter.State) {
			t.Helper()
			if synctest.Wait(); !slices.Equal(seen, want) {
				t.Errorf("%s: %v, not %v", why, seen, want)
			}
			seen = nil
		}
		for _, l := range lanes {
			l.connect <- struct{}{}
		}
		see("they connect for the first time")
		lanes[0].lose <- errLost
		see("one is lost", adapter.Down)
		lanes[2].core.Reconnect()
		see("another one is lost")
		lanes[2].lose <- errLost
		see("it cannot connect")
		lanes[0].connect <- struct{}{}
		see("one is back", adapter.Lost)
		lanes[2].connect <- struct{}{}
		see("all are back", adapter.Up)
		lanes[0].connect <- struct{}{}
		see("one says so again")
		lanes[1].core.Unsent(2)
		see("one has not sent something", adapter.Unsent, adapter.Unsent)
		stop()
		lanes[1].lose <- errLost
		see("nobody watches")
	})
}

// Listeners and watchers of all lanes are called one after the other.
func TestOneCallAtATime(t *testing.T) {
	lanes := driver.Lanes[string](driver.Options{Logger: quiet}, 2)
	calls, most := 0, 0 // the race detector sees it, too
	call := func() {
		before := calls
		runtime.Gosched()
		calls++
		most = max(most, calls-before)
	}
	lanes[0].Watch(func(adapter.State) { call() })
	var all sync.WaitGroup
	for _, l := range lanes {
		l.Listen("topic", func(string, []byte) { call() })
		for range 100 {
			all.Go(func() { l.Tell(adapter.Lost) })
			all.Go(func() { l.Deliver("topic", "", nil) })
		}
	}
	all.Wait()
	if calls != 400 || most != 1 {
		t.Errorf("%d calls, %d at a time", calls, most)
	}
}
