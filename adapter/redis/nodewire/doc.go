// Package nodewire lets Parley's servers and Socket.IO servers on Node.js be one cluster: it speaks the
// wires of their adapters for Redis.
//
// Classic is the wire of createAdapter in @socket.io/redis-adapter 7 and 8, and of
// @socket.io/redis-emitter. Broadcasts are published for everybody; requests as well, and they end when as
// many servers have answered as have subscribed.
//
//	key#nsp#                broadcasts: MessagePack [uid, packet, options]
//	key#nsp#room#           broadcasts to one room
//	key-request#nsp#        requests: JSON, or MessagePack if they contain an event
//	key-response#nsp#       answers
//	key-response#nsp#uid#   answers for one server
//
// What differs from Parley's own protocol:
//
//   - Every server receives all broadcasts, and nobody knows the others: Nodes returns this server only.
//   - Only the first argument of an acknowledgement crosses.
//   - ServerEmitWithAck waits until its context ends if a server has no handler.
//   - A Node.js server that calls socketsJoin and then emit may not reach its own sockets.
//   - Rooms that are numbers in JavaScript are their text here. What a Parley server sends to the room "42"
//     does not reach the room 42 of a Node.js server, except that its sockets in "42" get it.
package nodewire
