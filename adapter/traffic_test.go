package adapter_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
)

// leaky is a bus that loses messages, and says nothing about it.
type leaky struct {
	*adapter.MemoryBus
	leaks atomic.Bool
}

func (l *leaky) Publish(topic string, data []byte) error {
	if l.leaks.Load() {
		return nil
	}
	return l.MemoryBus.Publish(topic, data)
}

// The model of the traffic finds what is lost in silence, and only that.
func TestTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		bus, other := &leaky{MemoryBus: net.Connect()}, net.Connect()
		tr := adaptertest.NewTraffic(t, connect(t, bus, "a"), connect(t, other, "b"))
		other.Cut(true)
		time.Sleep(time.Second)
		tr.Sends()
		other.Cut(false)
		tr.Flows()
		time.Sleep(5 * time.Second) // a beat tells what b could not send
		if n := tr.Silent(); n > 0 {
			t.Errorf("after an outage that everybody knows of: %d", n)
		}
		bus.leaks.Store(true)
		time.Sleep(time.Second)
		bus.leaks.Store(false)
		tr.Flows()
		if n := tr.Silent(); n == 0 {
			t.Error("it found nothing after a silent loss")
		}
		other.Cut(true) // now there is a gap to know of
		other.Cut(false)
		if lost := tr.Stop(); lost == 0 {
			t.Error("nothing was lost")
		}
	})
}
