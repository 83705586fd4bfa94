package engine_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"pgregory.net/rapid"
)

// The wheel is compared with a map of due times. Each timer runs out once, never early, and at most
// two ticks late: one for rounding up, one for the turner.
func TestWheelAgainstModel(t *testing.T) {
	const tick = time.Second
	rapid.Check(t, func(rt *rapid.T) {
		type action struct {
			kind  int // 0–3 set, 4 clear, 5 wait
			timer int
			d     time.Duration
		}
		durations := rapid.OneOf(
			rapid.Int64Range(0, int64(5*tick)),
			rapid.Int64Range(0, int64(1000*tick)), // the wheel has 512 slots
			rapid.SampledFrom([]int64{-int64(tick), 0, 1, int64(tick), int64(tick) + 1, 511 * int64(tick), 512 * int64(tick), 513 * int64(tick), int64(1500 * tick)}),
		)
		actions := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) action {
			return action{rapid.IntRange(0, 5).Draw(rt, "kind"), rapid.IntRange(0, 9).Draw(rt, "timer"), time.Duration(durations.Draw(rt, "d"))}
		}), 1, 60).Draw(rt, "actions")
		offset := time.Duration(rapid.Int64Range(0, int64(tick)).Draw(rt, "offset"))

		synctest.Test(t, func(t *testing.T) {
			w := engine.NewWheel(tick)
			defer w.Close()
			time.Sleep(offset)
			var mu sync.Mutex // for the race detector: actions wait for reports
			due := map[int]time.Duration{}
			timers := make([]*engine.WheelTimer, 10)
			for i := range timers {
				timers[i] = w.Timer(func() {
					mu.Lock()
					defer mu.Unlock()
					at, set := due[i]
					if now := w.Since(); !set || now < at || now > at+2*tick {
						rt.Errorf("timer %d ran out at %v; set %v, due at %v", i, now, set, at)
					}
					delete(due, i)
				})
			}
			for _, a := range actions {
				synctest.Wait() // everything due now has been reported
				mu.Lock()
				switch a.kind {
				default:
					now := w.Since()
					timers[a.timer].Set(now + a.d)
					due[a.timer] = max(now+a.d, now)
				case 4:
					timers[a.timer].Clear()
					delete(due, a.timer)
				case 5:
					mu.Unlock()
					time.Sleep(max(a.d, 0))
					synctest.Wait()
					mu.Lock()
					for i, at := range due {
						if w.Since() > at+2*tick {
							rt.Errorf("timer %d has not run out, due at %v, now %v", i, at, w.Since())
						}
					}
				}
				mu.Unlock()
			}
			time.Sleep(1600 * tick)
			synctest.Wait()
			if len(due) > 0 {
				rt.Errorf("%d timers never ran out", len(due))
			}
		})
	})
}

// While a timer is being reported, it may be set again, together with other timers.
func TestWheelTimerSetsItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := engine.NewWheel(100 * time.Millisecond)
		defer w.Close()
		count := 0
		var timer *engine.WheelTimer
		timer = w.Timer(func() {
			if count++; count < 100 {
				timer.Set(w.Since() + time.Second)
			}
		})
		timer.Set(time.Second)
		time.Sleep(120 * time.Second)
		synctest.Wait()
		if count != 100 {
			t.Errorf("ran out %d times, want 100", count)
		}
	})
}

func TestClosedWheelIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := engine.NewWheel(time.Millisecond)
		timer := w.Timer(func() { t.Error("reported after Close") })
		timer.Set(time.Second)
		w.Close()
		timer.Set(time.Second)
		timer.Clear()
		time.Sleep(time.Minute)
	})
}

// A session may end, and set its timer for that, while its heartbeat runs out.
func TestWheelTimerSetWhileRunningOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := engine.NewWheel(time.Second)
		defer w.Close()
		reported := 0
		late := w.Timer(func() { reported++ })
		early := w.Timer(func() {
			go late.Set(w.Since() + time.Second)
			time.Sleep(time.Millisecond) // it is set by now and is reported next
		})
		early.Set(time.Second)
		late.Set(time.Second)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if reported != 1 {
			t.Errorf("ran out %d times, want once, at the second time", reported)
		}
	})
}
