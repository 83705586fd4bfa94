package history_test

import (
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// Time never goes back within a room, even if the clock does.
func TestMemoryClock(t *testing.T) {
	store := history.NewMemory()
	defer store.Close()
	at := int64(1000)
	store.SetClock(func() time.Time { return time.UnixMilli(at) })
	put(t, store, "r", 1)
	at = 400
	put(t, store, "r", 1)
	if m := put(t, store, "r", 1)[0]; m.Timestamp != history.TimeMilli(1000) {
		t.Errorf("at %v after 1 s", m.Timestamp)
	}
	if m := put(t, store, "other", 1)[0]; m.Timestamp != history.TimeMilli(400) {
		t.Errorf("in another room at %v", m.Timestamp)
	}
}
