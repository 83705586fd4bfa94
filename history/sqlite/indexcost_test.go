package sqlite_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/history"
)

// TestIndexCost stores 2,000 messages a second, and measures how far behind the index of words is.
func TestIndexCost(t *testing.T) {
	s := openSearch(t, filepath.Join(t.TempDir(), "history.db"))
	write(t, s, "a", "first", 1)
	wantHits(t, s, "first", 1)
	const rate, every = 2000, 20 // messages a second, commits a second
	messages := scale(200_000)
	drafts := make([]history.Draft, rate/every)
	var behind time.Duration
	began := time.Now()
	for n := 0; n < messages; n += len(drafts) {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / rate)))
		for i := range drafts {
			drafts[i] = history.Draft{RoomID: perfRoom(i), UserID: "ann", Message: fmt.Appendf(nil,
				`{"text":"parcel %d of %d has not arrived and the page says that it was handed over, number%d"}`, n+i, (n+i)%997, n+i)}
		}
		_, err := s.Append(t.Context(), drafts)
		must(t, err)
		if n%rate == 0 || n+len(drafts) >= messages {
			stored := time.Now()
			wantHits(t, s, fmt.Sprint("number", n+len(drafts)-1), 1)
			behind = max(behind, time.Since(stored))
		}
	}
	hold(t, bar.Bar{Name: "how far the index is behind at 2,000 messages a second", Value: behind.Seconds(), Unit: "s", Reference: "what is allowed", Base: 2, Most: 1})
}
