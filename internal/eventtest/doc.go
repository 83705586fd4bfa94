// Package eventtest tests package event from the other side. It has a contract that a server and a
// client share, and a small Socket.IO client that is built on package event without the server.
package eventtest

import "github.com/parley-go/parley/event"

// Stroke is a line on a board.
type Stroke struct {
	X, Y int
	Ink  event.Binary
}

// Sums asks for a sum.
type Sums struct{ A, B int }

// The contract.
const (
	Draw  = event.Event2[string, Stroke]("draw")  // both ways
	Clear = event.Event[event.None]("clear")      // both ways
	Add   = event.RPC[Sums, int]("add")           // the server answers
	Name  = event.RPC[event.None, string]("name") // the client answers
	Sign  = event.RPC[[]byte, event.Binary]("sign")
)
