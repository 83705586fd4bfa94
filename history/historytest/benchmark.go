package historytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// Benchmark measures a store. It measures appends by 1, 64 and 1,024 senders, each of which waits
// for one append before the next, over 200 and 10,000 rooms, directly and through a Log. It also
// measures reading the last 50 messages of a room, and opening a room with them. Messages have
// about 20 words and client ids that ascend with time.
func Benchmark(b *testing.B, open func(testing.TB) history.Store) {
	for _, rooms := range []int{200, 10_000} {
		for _, senders := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("append/rooms=%d/senders=%d", rooms, senders), func(b *testing.B) {
				batcher := history.NewBatcher(open(b), history.BatchLimits{}, nil)
				defer batcher.Close()
				benchmarkAppend(b, rooms, senders, batcher.Append)
			})
		}
	}
	for _, senders := range []int{64, 1024} {
		b.Run(fmt.Sprintf("log/rooms=200/senders=%d", senders), func(b *testing.B) {
			log := history.NewLog(open(b), nil)
			defer log.Close()
			benchmarkAppend(b, 200, senders, log.Append)
		})
	}
	b.Run("last50", func(b *testing.B) {
		store := open(b)
		benchmarkRead(b, store, func(room string) (int, error) {
			s, err := store.History(b.Context(), room, history.Page{})
			return len(s.Messages), err
		})
	})
	b.Run("open50", func(b *testing.B) {
		store := open(b)
		log := history.NewLog(store, nil)
		defer log.Close()
		benchmarkRead(b, store, func(room string) (n int, err error) {
			sub, err := log.Open(b.Context(), room, history.OpenOptions{}, nobody{}, func(o history.Opened) {
				n = len(o.Messages)
			})
			if err == nil {
				sub.Close()
			}
			return n, err
		})
	})
}

type appendFunc func(context.Context, history.Draft) (history.Appended, error)

func benchmarkAppend(b *testing.B, rooms, senders int, send appendFunc) {
	var next, failed atomic.Int64
	took := make([][]time.Duration, senders)
	b.ResetTimer()
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				d := benchmarkDraft(n, rand.IntN(rooms))
				start := time.Now()
				if _, err := send(context.Background(), d); err != nil {
					failed.Add(1)
				}
				took[sender] = append(took[sender], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if failed.Load() > 0 {
		b.Errorf("%d appends failed", failed.Load())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	reportQuantiles(b, slices.Concat(took...))
}

func benchmarkDraft(n int64, room int) history.Draft {
	return history.Draft{
		RoomID: fmt.Sprintf("room-%d", room),
		UserID: fmt.Sprintf("user-%d", n%5000),
		// Has the shape of a UUIDv7: ascending at the start, random at the end.
		ClientID: fmt.Sprintf("%012x-7%015x", n, rand.Uint64()>>4),
		Message: []byte(`{"text":"the parcel has not arrived and the page says that it was ` +
			`handed over on monday could you have a look please"}`),
	}
}

type nobody struct{}

func (nobody) Deliver(*history.Live) {}

func benchmarkRead(b *testing.B, store history.Store, read func(room string) (messages int, err error)) {
	const rooms, each = 200, 250
	drafts := make([]history.Draft, 0, rooms)
	for i := range int64(each) {
		drafts = drafts[:0]
		for room := range rooms {
			drafts = append(drafts, benchmarkDraft(i*rooms+int64(room), room))
		}
		if _, err := store.Append(context.Background(), drafts); err != nil {
			b.Fatal(err)
		}
	}
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		n, err := read(fmt.Sprintf("room-%d", rand.IntN(rooms)))
		if err != nil || n != history.DefaultLimit {
			b.Fatalf("%d messages, %v", n, err)
		}
		took = append(took, time.Since(start))
	}
	reportQuantiles(b, took)
}

func reportQuantiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 {
		return took[int(q*float64(len(took)-1))].Seconds() * 1000
	}
	b.ReportMetric(at(0.50), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(0, "ns/op")
}
