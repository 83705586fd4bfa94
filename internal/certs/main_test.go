package certs_test

import (
	"testing"

	"go.uber.org/goleak"
)

// The authority of the tests has no end: pebble's validation waits for more for ever.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}
