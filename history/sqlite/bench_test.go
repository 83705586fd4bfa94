package sqlite_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
	"github.com/parley-go/parley/history/sqlite"
)

func open(t testing.TB) history.Store {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(t.TempDir(), "history.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func Benchmark(b *testing.B) { historytest.Benchmark(b, open) }

// BenchmarkFollowed measures appends with a follower, and with the index of words, as a ratio to
// appends of the same run without.
func BenchmarkFollowed(b *testing.B) {
	const messages, senders, rooms = 20_000, 64, 200
	rate := func(o *sqlite.Options, follow bool) float64 {
		s, err := sqlite.Open(filepath.Join(b.TempDir(), "history.db"), o)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		stop, stopped := make(chan struct{}), make(chan struct{})
		if follow {
			position, err := s.FollowChanges(b.Context(), "f")
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
					}
					changes, err := s.ReadChanges(b.Context(), position, 1000)
					for err == nil && len(changes) > 0 {
						position = changes[len(changes)-1].Position
						if err = s.PassChanges(b.Context(), "f", position); err == nil {
							changes, err = s.ReadChanges(b.Context(), position, 1000)
						}
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			}()
		} else {
			close(stopped)
		}
		batcher := history.NewBatcher(s, history.BatchLimits{}, nil)
		defer batcher.Close()
		var next atomic.Int64
		start := time.Now()
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for n := next.Add(1); n <= messages; n = next.Add(1) {
					_, err := batcher.Append(b.Context(), history.Draft{
						RoomID: fmt.Sprint("room-", n%rooms), UserID: fmt.Sprint("user-", n%5000), ClientID: fmt.Sprintf("%012x", n),
						Message: []byte(`{"text":"the parcel has not arrived and the page says that it was handed over on monday could you have a look please"}`),
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(start)
		close(stop)
		<-stopped
		return messages / took.Seconds()
	}
	var plain, followed, indexed float64
	for b.Loop() {
		plain += rate(nil, false)
		followed += rate(nil, true)
		indexed += rate(&sqlite.Options{Search: true}, false)
	}
	b.ReportMetric(plain/float64(b.N), "messages/s")
	b.ReportMetric(followed/plain, "followed/plain")
	b.ReportMetric(indexed/plain, "indexed/plain")
	b.ReportMetric(0, "ns/op")
}
