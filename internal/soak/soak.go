// Package soak tells tests how often to repeat what is random. Only tests import it.
package soak

import "os"

// On reports whether this is "make soak", which sets PARLEY_SOAK: tests may take hours.
func On() bool { return os.Getenv("PARLEY_SOAK") != "" }

// Times returns few, and many for "make soak".
func Times(few, many int) int {
	if On() {
		return many
	}
	return few
}
