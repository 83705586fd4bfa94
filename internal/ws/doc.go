// Package ws implements the WebSocket protocol (RFC 6455) and its compression
// extension permessage-deflate (RFC 7692), for servers and clients.
//
// The core is a push parser and a set of append functions: neither reads,
// writes, blocks nor starts a goroutine, so a connection that is idle costs one
// small [Parser] and nothing else. A server uses them like this:
//
//	HTTP request ── Accept ──► Accepted.AppendResponse ──► bytes to write
//	bytes read ── Parser.Feed ──► Handler.OnMessage, Handler.OnControl
//	message ── AppendFrame or Deflater.AppendFrame ──► bytes to write
//	fault or farewell ── AppendClose ──► bytes to write
//
// Answering pings and Close frames is left to the [Handler].
//
// [Conn] and [Dial] put a blocking connection on top, which does both.
//
// The peer's faults are reported as [*CloseError], whose code belongs in our
// Close frame; refused handshakes as [*HandshakeError]. All other errors are
// ours, the handler's or the network's.
package ws
