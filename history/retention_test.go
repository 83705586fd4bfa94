package history_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
)

// Messages go within an hour of their age, and nobody who has the room open notices.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		log := history.NewLog(store, &history.LogOptions{Logger: quiet})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			history.Retention{Age: 24 * time.Hour, Logger: quiet}.Run(ctx, store)
			close(done)
		}()
		put(t, store, "r", 2500)
		var l losing
		l.on(t, log, "r")
		time.Sleep(23 * time.Hour)
		put(t, store, "r", 3)
		time.Sleep(30 * time.Minute)
		if s, err := store.History(t.Context(), "r", history.Page{}); err != nil || s.Floor != 0 {
			t.Errorf("too early: floor %d, %v", s.Floor, err)
		}
		time.Sleep(150 * time.Minute)
		s, err := store.History(t.Context(), "r", history.Page{})
		if err != nil || s.Floor != 2500 || len(s.Messages) != 3 {
			t.Errorf("after a day: floor %d, %d messages, %v", s.Floor, len(s.Messages), err)
		}
		synctest.Wait()
		if len(l.lost) > 0 {
			t.Errorf("lost %v", l.lost)
		}
		cancel()
		<-done
		log.Close()
		store.Close()
	})
}

// failing is a Pruner that fails for a while.
type failing struct {
	history.Pruner
	left int
}

func (f *failing) Prune(ctx context.Context, r history.PruneRule) (history.Pruned, error) {
	if f.left > 0 {
		f.left--
		return history.Pruned{}, errors.New("input/output error")
	}
	return f.Pruner.Prune(ctx, r)
}

// A failure is logged once, and passes. A closed store ends the retention.
func TestRetentionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		put(t, store, "r", 5)
		var out bytes.Buffer
		done := make(chan struct{})
		go func() {
			history.Retention{Keep: 2, Logger: slog.New(slog.NewTextHandler(&out, nil))}.Run(t.Context(), &failing{store, 3})
			close(done)
		}()
		time.Sleep(10 * time.Minute)
		s, err := store.History(t.Context(), "r", history.Page{})
		if err != nil || len(s.Messages) != 2 {
			t.Errorf("%d messages, %v", len(s.Messages), err)
		}
		store.Close()
		<-done
		if strings.Count(out.String(), "input/output error") != 1 || strings.Count(out.String(), "\n") != 2 {
			t.Errorf("logged %s", &out)
		}
	})
}
