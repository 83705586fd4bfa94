// Package history keeps the messages of rooms and hands them out without a gap.
//
// A [Store] keeps them. Every room has one counter; each append takes its next
// number inside the commit. That number is the message's order, its cursor, the
// position a client comes back with, and how a lost message is noticed. If a number
// is visible, all smaller ones of its room are, and time never decreases within a
// room. [NewMemory] is a store for tests and for rooms that may be forgotten; package
// sqlite is the durable one.
//
// A [Log] is what a server uses: it commits the appends of many senders together and
// joins history with what is said now. [Log.Open] reads a page and then delivers every
// later message exactly once, in order:
//
//	append:  commit → tail of the room, if someone here has it open → bus → return
//	open:    take live messages into a buffer; read the page; hand it over;
//	         flush what the page did not cover; live from here on
//	tail:    delivers number n+1 after n. A later one is held; if the missing one
//	         does not come within 15 ms, it is read from the store
//	audit:   nothing follows the last message of a room to show that the bus has lost
//	         it, so every 5 s the log asks the store for the newest numbers of the open
//	         rooms that were quiet. Without a bus there is no audit
//
// The [Bus] between nodes is therefore only a hint: it may lose, repeat, delay and
// reorder messages. The store is the truth.
//
// # Sending once
//
// A sender gives each message a client id (a UUIDv7, say) and keeps it until the
// append is acknowledged. After a timeout, a reconnect or an error that leaves the
// outcome open it sends the same message with the same id again, to any node: the
// original comes back, marked as a duplicate.
//
// # With sockets
//
// Package historyio does with a log what a Socket.IO server needs: clients join and leave rooms,
// and go on with them when they get a lost connection back.
package history
