// Package bench is "parley bench": a load generator for any Socket.IO server of protocol 5.
//
// The parts, from the wire up:
//
//	websocket.go, polling.go   a connection's transport
//	client.go, fleet.go        Socket.IO connections: handshake, heartbeat, end
//	load.go                    messages in flight: closed loop (a window) or open loop (a rate)
//	scenario.go …              what is done with them, one file for each kind
//	meter.go, process.go       what is counted: latencies, losses, the server's CPU and memory
//	result.go, table.go        what is told
//
// The generator must not be what is measured. So connections are driven by package poll
// and have no goroutines while they use WebSockets; messages are recognised by their first
// bytes and by a mark, and their JSON is not parsed.
//
// # Latencies
//
// A latency runs from the moment at which a message was due. In a closed loop that is when
// it is sent, which is when an earlier one has been answered: a server that stalls is sent
// nothing meanwhile, and the stall shows in a few messages only. In an open loop messages
// are due at a fixed rate whatever the server does, so that a stall shows in all that were
// due during it. This is what a percentile is usually taken for.
package bench
