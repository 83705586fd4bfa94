package historytest

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/history"
)

// Parts of the suite, for the tests that prove that it catches broken implementations.
type (
	Node    = node
	Closer  = closer
	NewNode = newNode
)

var (
	NewLogNode = newLogNode
	CheckBytes = checkBytes
)

// Failures plays n plans and returns how many of them failed.
func Failures(t *testing.T, n int, store history.Store, make NewNode) (failed int) {
	plans := rapid.Custom(func(t *rapid.T) plan { return drawPlan(t, true) })
	for i := range n {
		if runPlan(t, plans.Example(i), i, store, oneNetwork, make) != nil {
			failed++
		}
	}
	return failed
}

var CheckRoomsOrder = checkRoomsOrder
