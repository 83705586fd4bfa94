package budget

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 1, Burst: 3}
		var l Ledger
		for range 4 { // the last one goes over the budget
			if wait := l.Allow("a", limit, 1); wait != 0 {
				t.Errorf("a wait of %v within the burst", wait)
			}
		}
		if wait := l.Allow("a", limit, 1); wait != time.Second {
			t.Errorf("a is over its budget: %v", wait)
		}
		if wait := l.Allow("b", limit, 1); wait != 0 {
			t.Errorf("b pays for a: %v", wait)
		}
		l.Refund("a", limit, 2)
		if wait := l.Allow("a", limit, 1); wait != 0 {
			t.Errorf("after a refund: %v", wait)
		}
		l.Refund("nobody", limit, 1)
		if wait := l.Allow("a", Limit{}, 1e9); wait != 0 {
			t.Errorf("without a limit: %v", wait)
		}
	})
}

// Those who reserve wait in the order of their calls. Who would wait too long is charged nothing.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 1, Burst: 3}
		var l Ledger
		l.Charge("a", limit, 4) // goes over the budget
		for i, want := range []time.Duration{1, 3, 5, 5} {
			if wait := l.Reserve("a", limit, 2, 4*time.Second); wait != want*time.Second {
				t.Errorf("call %d: a wait of %v, want %d s", i, wait, want)
			}
		}
		time.Sleep(5 * time.Second)
		if wait := l.Allow("a", limit, 1); wait != 0 {
			t.Errorf("afterwards: %v", wait)
		}
		l.Charge("a", Limit{}, 1e9) // no limit
		if wait := l.Reserve("a", limit, 1, 0); wait != time.Second {
			t.Errorf("1 over the burst: %v", wait)
		}
	})
}

// A refund gives back no more than was charged, even long after.
func TestRefundIsNoCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 1, Burst: 3}
		var l Ledger
		l.Allow("a", limit, 3)
		time.Sleep(time.Hour)
		l.Refund("a", limit, 3)
		l.Allow("a", limit, 4)
		if wait := l.Allow("a", limit, 1); wait != time.Second {
			t.Errorf("1 over the burst: %v", wait)
		}
	})
}

// Clients are forgotten when they have their whole burst again.
func TestLedgerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 1, Burst: 120}
		var l Ledger
		for i := range 1000 {
			l.Allow(fmt.Sprint(i), limit, 1)
		}
		l.Allow("a", limit, 100)
		time.Sleep(time.Minute)
		l.Allow("b", limit, 1)
		if n := len(l.accounts); n != 2 {
			t.Errorf("%d clients, want a and b", n)
		}
		l.Allow("a", limit, 100)
		if wait := l.Allow("a", limit, 1); wait != 20*time.Second {
			t.Errorf("a was forgotten too early: %v", wait)
		}
	})
}

// However many names an attacker has, the ledger stays small, and remembers who has spent much.
func TestLedgerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := Limit{PerSecond: 1, Burst: 100}
		var l Ledger
		for i := range 100 {
			l.Allow(fmt.Sprint("spender ", i), limit, 1000)
		}
		for i := range 3 * maxAccounts / 2 {
			if wait := l.Allow(fmt.Sprint(i), limit, 1); wait != 0 {
				t.Fatalf("newcomer %d waits %v", i, wait)
			}
		}
		if n := len(l.accounts); n > maxAccounts {
			t.Errorf("%d clients", n)
		}
		for i := range 100 {
			if wait := l.Allow(fmt.Sprint("spender ", i), limit, 1); wait != 900*time.Second {
				t.Errorf("spender %d waits %v", i, wait)
			}
		}
	})
}
