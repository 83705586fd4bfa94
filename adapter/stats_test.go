package adapter_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
)

// The figures of a server say what happened to it.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus := &refusing{MemoryBus: net.Connect()}
		na, nb := connect(t, bus, "a"), connect(t, net.Connect(), "b")
		if s := na.Stats(); s.Up {
			t.Errorf("before it has heard itself: %+v", s)
		}
		a, b := adaptertest.NewSpace(na, "/"), adaptertest.NewSpace(nb, "/")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		first, other := na.Stats(), nb.Stats()
		if !first.Up || first.Peers != 1 || first.Dropped+first.Gaps+first.Unanswered+first.Malformed != 0 {
			t.Errorf("at first: %+v", first)
		}
		k := b.Connect("k")
		const events = 10
		for range events {
			if err := a.Emit(adapter.Selection{}, "x"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := na.Stats().Published - first.Published; got != events {
			t.Errorf("it published %d", got)
		}
		if got := nb.Stats().Received - other.Received; got != events {
			t.Errorf("the other one received %d", got)
		}

		k.Silence()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2) // it must not end when a beat is sent
		defer cancel()
		if err := a.Link.Call(ctx, &adapter.Message{Kind: adapter.Broadcast, Data: []byte(`["x"]`)}, func(*adapter.Answer) {}); err == nil {
			t.Error("a socket that says nothing has answered")
		}
		nb.Receive([]byte("nonsense"))
		bus.full.Store(true)
		_ = a.Emit(adapter.Selection{}, "x")
		bus.full.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if s := na.Stats(); s.Unanswered != 1 || s.Dropped != 1 || s.Gaps != 0 {
			t.Errorf("the sender: %+v", s)
		}
		if s := nb.Stats(); s.Malformed != 1 || s.Gaps != 1 {
			t.Errorf("the receiver: %+v", s)
		}

		bus.Cut(true)
		synctest.Wait()
		if s := na.Stats(); s.Up {
			t.Errorf("without a bus: %+v", s)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := na.Stats(); s.Peers != 0 || s.Dropped < 2 {
			t.Errorf("without a bus, later: %+v", s)
		}
		bus.Cut(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := na.Stats(); !s.Up || s.Peers != 1 || s.Gaps == 0 {
			t.Errorf("with the bus again: %+v", s)
		}
	})
}
