//go:build race

package sio_test

// slowness is roughly how much slower tests run with the race detector.
const slowness = 16
