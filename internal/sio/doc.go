// Package sio is the Socket.IO packet codec for protocol revision 5, and for revision 4, whose
// packets have the same grammar. It has no goroutines, no I/O and no clocks.
//
// Arguments stay raw JSON. Decoding a packet checks its syntax, its shape and its attachments, and
// returns slices of the message. Converting an argument to a Go value ([Decode]) and back
// ([AppendArgs]) is a separate step for callers that need the value.
//
// Everything that passes a [Decoder] is well-formed JSON and valid UTF-8, so you can forward it to
// other peers unchanged. The reference, socket.io-parser 4.2.7, decides what is accepted. Where
// this package is stricter, the tests list each case.
package sio
