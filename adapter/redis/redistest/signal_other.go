//go:build !unix

package redistest

import "os"

// A process cannot be paused here: the test that wants it fails.
var pauseSignal, resumeSignal = os.Interrupt, os.Interrupt
