package recent_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter/internal/recent"
)

func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n recent.Names
		is := func(want bool, names ...string) {
			t.Helper()
			if got := n.Forgotten(names); got != want {
				t.Errorf("%q: %v", names, got)
			}
		}
		n.Add([]string{"a", "b"})
		is(false, "a")
		is(false, "unknown")
		time.Sleep(recent.Lifetime)
		is(false, "a", "b")
		is(true, "a")
		is(false, "a")
		is(true, "b")
		n.Add([]string{"a"})
		time.Sleep(recent.Lifetime - 1)
		n.Add([]string{"a"})
		time.Sleep(1 * time.Nanosecond)
		is(false, "a")
	})
}
