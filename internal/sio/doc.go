// Package sio is the Socket.IO packet codec: protocol revision 5, and 4, whose
// packets have the same grammar. It is pure: no goroutines, no I/O, no clocks.
//
// Arguments stay raw JSON. Decoding a packet checks its syntax, its shape and its
// attachments, and hands out slices of the message; turning an argument into a Go
// value ([Decode]) and back ([AppendArgs]) is a step of its own, taken by whoever
// needs the value.
//
// What passes a [Decoder] is well-formed JSON and valid UTF-8, so it can be sent on
// to other peers as it is. The released reference, socket.io-parser 4.2.7, decides
// what is accepted; where this package is stricter, the tests say so row by row.
package sio
