//go:build !race

package sio_test

const slowness = 1
