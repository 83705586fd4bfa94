package emitter_test

import (
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/emitter"
	"github.com/parley-go/parley/event"
)

func TestEmitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := adapter.NewMemory()
		var spaces []*adaptertest.Space
		for _, name := range []string{"a", "b"} {
			c, err := adapter.New(memory.Connect(), &adapter.Options{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			spaces = append(spaces, adaptertest.NewSpace(c, "/"))
		}
		adaptertest.RunEmitter(t, emitter.New(memory.Connect()), spaces)
	})
}

// Descriptors of events can be sent to an emitter.
func TestDescriptors(t *testing.T) {
	var sent recorder
	if err := event.Event[int]("count").Emit(emitter.Over(&sent).Of("/n").To("room"), 7); err != nil {
		t.Fatal(err)
	}
	if m := sent.m; m == nil || string(m.Data) != `["count",7]` || m.Namespace != "/n" || len(m.Rooms) != 1 {
		t.Errorf("sent %+v", m)
	}
}

type recorder struct{ m *adapter.Message }

func (r *recorder) Publish(m *adapter.Message) error { r.m = m; return nil }
func (r *recorder) Close() error                     { return nil }
