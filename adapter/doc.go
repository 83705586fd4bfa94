// Package adapter connects the servers of a cluster, so that a broadcast reaches the sockets of all
// of them. It links no driver: a [Bus] is what a driver offers, and [NewMemory] is one for servers of
// one process.
//
//	parley.Server ── Namespace ── Link ── Native ── Bus ── Redis, NATS, PostgreSQL, memory
//	                     └─────── Local ◄────┘
//
// A namespace publishes through its [Link] and receives through the [Local] that it has given to it.
// [Native] is Parley's own protocol over a Bus. Other implementations of [Cluster] speak the wires of
// Socket.IO's adapters for Node.js.
//
// What you can rely on:
//
//   - A server delivers to its own sockets first, whatever the bus does.
//   - A message arrives at most once. What one server sends arrives in order. Messages of two servers
//     may arrive in different orders at different places.
//   - After Socket.Join has returned, the socket receives what other servers send to the room.
//   - What is sent to a room after SocketsJoin reaches the sockets that it made join.
//   - Whoever may have missed a message learns that ([Local].Gap), except a server that was stopped
//     for so long that the others took it for dead, and that has not yet noticed.
package adapter
