// Package bench is "parley bench": a load generator for any Socket.IO server of protocol 5.
//
// The parts, from the wire up:
//
//	websocket.go, polling.go   a connection's transport
//	client.go, fleet.go        Socket.IO connections: handshake, heartbeat, end
//	load.go                    messages in flight: closed loop (a window) or open loop (a rate)
//	scenario.go …              the scenarios
//	budgets.go                 whether the load exceeded what a parley server allows
//	meter.go, process.go       the counters: latencies, losses, the server's CPU and memory
//	target.go, run.go          one server
//	compare.go                 two servers in turns
//	result.go, table.go        the report
//
// The measurement is of the server, not of the generator. So package reactor drives WebSocket
// connections, which have no goroutines. The generator recognizes messages by their first bytes and
// by a mark, and does not parse their JSON.
//
// # Latencies
//
// A latency starts when a message is due. In a closed loop, a message is due when an earlier one has
// been answered. While a server stalls, the client sends nothing, so the stall shows only in a few
// messages. In an open loop, messages are due at a fixed rate, whatever the server does. So a stall
// shows in all messages that were due during it. This is what readers of a percentile usually expect.
package bench
