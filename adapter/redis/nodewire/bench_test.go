package nodewire_test

import (
	"strings"
	"testing"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis/nodewire"
)

// sink is a namespace that receives and does nothing.
type sink struct {
	adapter.Local
	got int
}

func (s *sink) Has(string) bool          { return true }
func (s *sink) Deliver(*adapter.Message) { s.got++ }

func message() *adapter.Message {
	return &adapter.Message{Kind: adapter.Broadcast, Selection: adapter.Selection{Rooms: []string{"room"}}, Data: []byte(`["burst","` + strings.Repeat("x", 300) + `"]`)}
}

func BenchmarkHear(b *testing.B) {
	for name, sharded := range map[string]bool{"classic": false, "sharded": true} {
		b.Run(name, func(b *testing.B) {
			var s sink
			hear, encode := nodewire.Decoder(&s, sharded)
			data, err := encode(message())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				hear("socket.io#/#room#", data)
			}
			if s.got != b.N {
				b.Errorf("%d of %d delivered", s.got, b.N)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, sharded := range map[string]bool{"classic": false, "sharded": true} {
		b.Run(name, func(b *testing.B) {
			_, encode := nodewire.Decoder(&sink{}, sharded)
			m := message()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encode(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
