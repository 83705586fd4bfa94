// Package eio encodes and decodes the packets and polling payloads of Engine.IO protocol
// revisions 4 and 3. It is pure: bytes in, packets out, no I/O and no state.
//
// The protocol is at https://github.com/socketio/engine.io-protocol; revision 3 is in branch v3.
package eio
