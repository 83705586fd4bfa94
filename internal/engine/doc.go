// Package engine keeps Engine.IO sessions. It does the handshake, the transports (HTTP long
// polling, WebSocket, Server-Sent Events and WebTransport), the upgrade from one transport to
// another and the heartbeat, and it queues what a session has yet to send.
//
//	HTTP request ─ Server.ServeHTTP ─┬─ no sid:  Session made, Handler attached, OPEN sent
//	                                 ├─ polling: the session's parked GET, or its POST
//	                                 ├─ sse:     another stream of the session, or its POST
//	                                 └─ upgrade: a WebSocket, probed, then the session's transport
//
//	bytes → transport → eio packet → Session → Handler.Message     (one goroutine at a time)
//	Session.Send → outbox → transport (woken) → one write for all that is queued
//
// A Message is rendered at most once for each kind of transport, no matter how many sessions
// receive it.
//
// # The life of a session
//
// A session is in one of five states. Only Session.changeLocked changes the state.
//
//	state      meaning                                  what ends it                      next
//	opening    registered; nobody else knows it         its handler is attached           open
//	open       messages go both ways                    Close, or the client's CLOSE      closing
//	                                                    a fault, silence, a slow client   closed
//	closing    what is queued is still sent, then       the transport has sent it         closed
//	           the client learns of the end             that needs the client's request   lingering
//	lingering  like closing, but the session waits      the client has come               closed
//	           for the client to fetch the rest         the client does not come in time  closed
//	                                                    it upgrades to another transport  closing
//	closed     nothing more is sent
//
// When a session leaves the state open, it calls its handler's Closed and accepts nothing more from
// the client. The functions for that are in end.go. Close and close send what is queued first. end
// drops it, and so do violate and slowLocked, which call end or endLocked.
//
// The session ends its transport in three ways. endLocked makes the transport send the client the
// farewell. cutLocked makes it stop waiting for the client. dropLocked ends a candidate for an
// upgrade that the session does not want. If a candidate's connection ends, the candidate calls
// abandonLocked to give up the upgrade.
//
// # Revisions
//
// Sessions of the protocol's revisions 4 and 3 run side by side. A session keeps the revision that
// it began with. eio.Protocol knows the differences.
package engine
