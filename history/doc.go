// Package history stores the messages of rooms and delivers them without gaps.
//
// A [Store] stores the messages. Every room has one counter, and each append takes its next number
// inside the commit. That number defines the order of messages, serves as a cursor, tells the
// server where to continue when a client comes back, and reveals lost messages. If a number is
// visible, all smaller ones of its room are visible too, and time never decreases within a room.
// [NewMemory] returns a store for tests and for rooms that may be forgotten. Package sqlite has the
// durable store.
//
// A server uses a [Log]. It commits the appends of many senders together and joins stored history
// with live messages. [Log.Open] reads a page and then delivers every later message exactly once,
// in order:
//
//	append:  commit → the room's tail, if someone here has the room open → bus → return
//	open:    collect live messages in a buffer; read the page; hand it over;
//	         deliver what the buffer has beyond the page; from here on, deliver live
//	tail:    deliver number n+1 after n. Hold a later one; if the missing one does
//	         not arrive within 15 ms, read it from the store
//	audit:   nothing follows the last message of a room to show that the bus lost it. So
//	         every 5 s, ask the store for the newest numbers of the open rooms that
//	         were quiet; after a gap on the bus, those of all, at once. Without a bus there is
//	         no audit
//
// The [Bus] between nodes is therefore only a hint: it may lose, repeat, delay and
// reorder messages. The store is the truth.
//
// # Slow clients
//
// A subscriber that is [Paced] gets messages no faster than its client takes them. While it is
// behind, it gets no live messages and costs no memory for them. It gets them from the store later,
// each exactly once and in order.
//
// # Sending once
//
// A sender gives each message a client id (a UUIDv7, for example) and keeps it until the append is
// acknowledged. After a timeout, a reconnect or an error with unknown outcome, it sends the same
// message with the same id again, to any node. If the message was already stored, the sender
// receives the original, marked as a duplicate.
//
// # Reading fairly
//
// Each page has a [Limit] of messages and bytes, and the store reads no more than that. A context can
// say for whom a read is ([WithClient]), so that a store with few connections lets clients take
// turns. A read ends when its context does.
//
// # With sockets
//
// Package historyio connects a log to a Socket.IO server: clients join and leave rooms, and stay in
// them when their lost connection is recovered.
package history
