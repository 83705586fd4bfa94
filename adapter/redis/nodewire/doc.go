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
// Sharded is the wire of createShardedAdapter in version 8, over sharded publish/subscribe. Everything is a
// cluster message {uid, nsp, type, data}: JSON, or MessagePack if it contains binary data. The types are the
// first numbers of adapter.Kind.
//
//	key#nsp#                what is for all servers
//	key#nsp#room#           broadcasts to one room, as the Mode says
//	key#nsp#uid#            answers for one server
//
// ClassicEmitter and ShardedEmitter send without being a server.
//
// What differs from Parley's own protocol:
//
//   - Nobody knows the others, only how many there are: Nodes returns this server only.
//   - Only the first argument of an acknowledgement crosses.
//   - ServerEmitWithAck waits until its context ends if a server has no handler.
//   - A Node.js server that calls socketsJoin and then emit may not reach its own sockets on the classic wire,
//     and not those of others on the sharded one.
//   - Rooms that are numbers in JavaScript are their text here. What a Parley server sends to the room "42"
//     does not reach the room 42 of a Node.js server, except that its sockets in "42" get it.
//   - On a Redis Cluster with the sharded wire, events to different rooms may arrive in another order.
package nodewire
