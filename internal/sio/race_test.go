//go:build race

package sio_test

// slowness is how much slower everything is with the race detector, about.
const slowness = 16
