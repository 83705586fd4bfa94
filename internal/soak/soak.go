// Package soak tells tests how often to repeat random checks. Only tests import it.
package soak

import "os"

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
