package nodewire_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter/redis/nodewire"
)

// A connection that looks healthy and delivers nothing is replaced; one that delivers is not.
func TestDeafConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if n := nodewire.Probe(true, time.Minute); n < 5 {
			t.Errorf("replaced %d times in a minute", n)
		}
		if n := nodewire.Probe(false, time.Minute); n != 0 {
			t.Errorf("replaced %d times, although it delivered", n)
		}
	})
}
