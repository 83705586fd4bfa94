// Package engine keeps Engine.IO sessions: the handshake, the transports (HTTP long
// polling, WebSocket, Server-Sent Events and WebTransport), the upgrade from one to another,
// the heartbeat, and the queue of what a session has yet to send.
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
// # The life of a session
//
// A session is in one of five states. Session.changeLocked is the only place that changes it.
//
//	state      what it means                            what ends it                      next
//	opening    registered; nobody else knows of it      its handler is attached           open
//	open       messages go both ways                    Close, or the client's CLOSE      closing
//	                                                    a fault, silence, a slow client   closed
//	closing    what is queued is still sent, and the    the transport has sent it         closed
//	           transport tells the client by itself     it takes a request of the client  lingering
//	lingering  the same, but the client has to come     the client has come               closed
//	           for it: the server still knows it        nobody comes in time              closed
//	                                                    it upgrades to another transport  closing
//	closed     nothing is sent any more
//
// When a session leaves the state open, its handler is told and nothing is received any more.
// The verbs for the ways to leave it are in end.go: Close and close send what is queued first;
// end, and violate and slowLocked which call it, drop it.
//
// A transport that is told of the end (endLocked) sends the client the farewell. One that is
// cut (cutLocked) waits for the client no more. A candidate for an upgrade is dropped
// (dropLocked) if the session does not want it, and abandons the upgrade (abandonLocked) if its
// connection ends.
//
// # Revisions
//
// Sessions of the protocol's revisions 4 and 3 live side by side. Each holds the one it
// began in; what differs is asked of eio.Protocol.
package engine
