package recent_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter/internal/recent"
)

func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n recent.Names
		has := func(want bool, names ...string) {
			t.Helper()
			if got := n.HasOnly(names); got != want {
				t.Errorf("%q: %v", names, got)
			}
		}
		has(false, "a")
		n.Add([]string{"a", "b"})
		has(true, "a")
		has(true, "b")
		has(false)
		has(false, "a", "b")
		has(false, "c")
		time.Sleep(recent.Lifetime - time.Nanosecond)
		has(true, "a")
		n.Add([]string{"b"})
		time.Sleep(time.Nanosecond)
		has(false, "a")
		has(true, "b")
		for range 10 { // what has ended does not stay
			time.Sleep(2 * recent.Lifetime)
			n.Add([]string{"c"})
		}
		has(true, "c")
		has(false, "b")
		if got := n.Len(); got != 1 {
			t.Errorf("%d names are kept", got)
		}
	})
}
