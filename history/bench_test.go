package history_test

import (
	"context"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

func BenchmarkMemory(b *testing.B) {
	historytest.Benchmark(b, func(testing.TB) history.Store { return history.NewMemory() })
}

// BenchmarkDeliver delivers to a room of 10,000 once per operation.
func BenchmarkDeliver(b *testing.B) {
	log := history.NewLog(history.NewMemory(), nil)
	defer log.Close()
	counters := make([]counter, 10_000)
	for i := range counters {
		if _, err := log.Open(context.Background(), "r", history.OpenOptions{}, &counters[i], func(history.Opened) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n++
		history.OfferAndWait(log, history.Message{RoomID: "r", Seq: n})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/float64(len(counters)), "ns/delivery")
}
