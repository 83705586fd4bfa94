package driver_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter/internal/driver"
)

var (
	quiet   = slog.New(slog.DiscardHandler)
	errLost = errors.New("lost")
)

// The pauses between attempts to connect grow, and begin anew when one succeeds, or when the next one is known to do.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := driver.New[string](driver.Options{Logger: quiet})
		attempts := []struct {
			succeeds bool
			err      error
			pause    time.Duration // at most, and three quarters of it at least
		}{
			{true, errLost, 50 * time.Millisecond}, {false, errLost, time.Second}, {false, errLost, 2 * time.Second},
			{false, errLost, 4 * time.Second}, {false, errLost, 4 * time.Second},
			{true, errLost, 50 * time.Millisecond}, {false, errLost, time.Second},
			{false, driver.Soon(errLost), 200 * time.Millisecond}, {true, driver.Soon(errLost), 200 * time.Millisecond},
		}
		var at []time.Time
		core.Start(func(context.Context, []driver.Message) int { return 0 }, func(connected func()) error {
			n := len(at)
			at = append(at, time.Now())
			if n == len(attempts) {
				<-core.Done()
				return nil
			}
			if attempts[n].succeeds {
				connected()
			}
			return attempts[n].err
		})
		time.Sleep(time.Minute)
		core.Close()
		for i, a := range attempts {
			if pause := at[i+1].Sub(at[i]); pause > a.pause || pause < a.pause/4*3 {
				t.Errorf("the pause after attempt %d has %v, not %v", i, pause, a.pause)
			}
		}
	})
}
