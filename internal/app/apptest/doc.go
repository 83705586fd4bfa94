// Package apptest is a Socket.IO client for tests of servers. It speaks the protocol over
// a WebSocket itself, so that what a test expects is what the wire carries, in its order.
package apptest
