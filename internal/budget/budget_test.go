package budget

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 10, Burst: 30}
		var b Balance
		for i := range 30 {
			if wait := b.Charge(limit, 1); wait != 0 {
				t.Fatalf("%d: a wait of %v within the burst", i, wait)
			}
		}
		if wait := b.Charge(limit, 5); wait != 500*time.Millisecond {
			t.Errorf("5 over the burst, at 10 a second: %v", wait)
		}
		time.Sleep(400 * time.Millisecond)
		if wait := b.Charge(limit, 0); wait != 100*time.Millisecond {
			t.Errorf("still over the budget, after 400 of 500 ms: %v", wait)
		}
		time.Sleep(100*time.Millisecond + 10*time.Second) // more than the whole burst
		if !b.Full() {
			t.Error("the burst is not whole")
		}
		if wait := b.Charge(limit, 31); wait != 100*time.Millisecond {
			t.Errorf("a rest earns no more than the burst: %v", wait)
		}
	})
}

func TestBurstOfTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Balance
		if wait := b.Charge(Limit{PerSecond: 100}, 200); wait != 0 {
			t.Error(wait)
		}
		if wait := b.Charge(Limit{PerSecond: 100}, 1); wait != 10*time.Millisecond {
			t.Error(wait)
		}
	})
}

func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 1, Burst: 10}
		var b Balance
		if wait := b.Allow(limit, 15); wait != 0 {
			t.Errorf("refused with the whole burst left: %v", wait)
		}
		for range 3 { // what is refused costs nothing
			if wait := b.Allow(limit, 15); wait != 5*time.Second {
				t.Errorf("5 over the budget: %v", wait)
			}
		}
	})
}

func TestNoLimit(t *testing.T) {
	var b Balance
	if wait := b.Charge(Limit{}, math.MaxInt); wait != 0 || !b.Full() {
		t.Errorf("wait %v", wait)
	}
}

func TestHugeCosts(t *testing.T) {
	var b Balance
	for range 20 {
		if wait := b.Charge(Limit{PerSecond: 1e-3, Burst: 1}, math.MaxInt); wait <= 0 {
			t.Fatalf("wait %v", wait)
		}
	}
}

func TestChargesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 1000, Burst: 1000}
		var b Balance
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for range 200 {
					b.Charge(limit, 1)
				}
			})
		}
		wg.Wait()
		if wait := b.Charge(limit, 0); wait != time.Second {
			t.Errorf("2,000 of 1,000: %v", wait)
		}
	})
}

// Whoever comes back after the seconds is not too early.
func TestSeconds(t *testing.T) {
	for wait, want := range map[time.Duration]int{0: 0, 1: 1, 400 * time.Millisecond: 1, time.Second: 1, time.Second + 1: 2, 1400 * time.Millisecond: 2, time.Hour: 3600} {
		if got := Seconds(wait); got != want {
			t.Errorf("%v: %d, want %d", wait, got, want)
		}
	}
}
