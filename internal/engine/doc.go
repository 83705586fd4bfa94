// Package engine keeps Engine.IO sessions: the handshake, the transports (HTTP long
// polling, WebSocket and Server-Sent Events), the upgrade from one to another, the heartbeat, and
// the queue of what a session has yet to send.
//
//	HTTP request ─ Server.ServeHTTP ─┬─ no sid:  Session made, Handler attached, OPEN sent
//	                                 ├─ polling: the session's parked GET, or its POST
//	                                 ├─ sse:     another stream of the session, or its POST
//	                                 └─ upgrade: a WebSocket, probed, then the session's transport
//
//	bytes → transport → eio packet → Session → Handler.Message     (one goroutine at a time)
//	Session.Send → outbox → transport (woken) → one write for all that is queued
//
// A Message is rendered at most once for each kind of transport, however many
// sessions it is sent to.
//
// Sessions of the protocol's revisions 4 and 3 live side by side. Each holds the one it
// began in; what differs is asked of eio.Protocol.
package engine
