// Package engine is the client's side of an Engine.IO session: the handshake, the transports, the upgrade
// from one to another, and the heartbeat. It speaks revisions 4 and 3 of the protocol
// (https://github.com/socketio/engine.io-protocol), and the transports websocket, polling, sse (see
// docs/protocol.md) and, if the caller can open its streams, webtransport.
//
//	Send ─► queue ─► transport ─► network ─► transport ─► Handler.Receive
//
// What is sent waits in the session's queue, until the transport takes it. So a change of transports loses
// nothing and reorders nothing: while it is under way, nobody takes from the queue.
//
// An idle session over WebSocket has no goroutine on Linux, because package reactor reads for all of them.
package engine
