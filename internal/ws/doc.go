// Package ws implements the WebSocket protocol (RFC 6455) and its compression
// extension permessage-deflate (RFC 7692), for servers and clients.
//
// The core is a push parser and a set of append functions. They never read, write, block or start a
// goroutine, so an idle connection costs one small [Parser] and nothing else. A server uses them
// like this:
//
//	HTTP request ── Accept ──► Accepted.AppendResponse ──► bytes to write
//	bytes read ── Parser.Feed ──► Handler.OnMessage, Handler.OnControl
//	message ── AppendFrame or Deflater.AppendFrame ──► bytes to write
//	fault or farewell ── AppendClose ──► bytes to write
//
// The [Handler] has to answer pings and Close frames itself. [Conn] is a blocking connection on top
// of the core, which answers both. [Dial] makes one for a client.
//
// If the peer breaks the protocol, the error is a [*CloseError] with the code for our Close frame.
// If [Accept] refuses a handshake, the error is a [*HandshakeError]. All other errors come from us,
// the handler or the network.
package ws
