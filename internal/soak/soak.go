// Package soak tells tests how often to repeat random checks, and for how long. Only tests import it.
package soak

import (
	"os"
	"time"
)

// On reports whether the tests run under "make soak", which sets PARLEY_SOAK. They may then take
// hours.
func On() bool { return os.Getenv("PARLEY_SOAK") != "" }

// Times returns few, or many under "make soak".
func Times(few, many int) int {
	if On() {
		return many
	}
	return few
}

// Time returns a short time, or a long one under "make soak".
func Time(short, long time.Duration) time.Duration {
	if On() {
		return long
	}
	return short
}
