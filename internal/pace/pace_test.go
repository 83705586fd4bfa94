package pace_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/pace"
)

func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, calls := time.Now(), 0
		ctx, stop := context.WithCancel(t.Context())
		err := pace.Spread(ctx, 10*time.Second, 5, func(i int) {
			if after, want := time.Since(begun), time.Duration(i)*2*time.Second; i != calls || after != want {
				t.Errorf("call %d has %d, after %v; want %v", calls, i, after, want)
			}
			calls++
		})
		if err != nil || calls != 5 || time.Since(begun) != 8*time.Second {
			t.Errorf("%d calls in %v, %v", calls, time.Since(begun), err)
		}
		if err := pace.Spread(ctx, time.Hour, 0, nil); err != nil {
			t.Error(err)
		}
		calls = 0
		err = pace.Spread(ctx, 200*365*24*time.Hour, 1_000_000, func(int) { // as long as a Duration can be, nearly
			if calls++; calls == 3 {
				stop()
			}
		})
		if err != context.Canceled || calls != 3 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}
