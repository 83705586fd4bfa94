// Package eio encodes and decodes Engine.IO packets and polling payloads, of the
// protocol's revisions 4 and 3. It is pure: bytes in, packets out, no I/O and no state.
//
// Protocol: https://github.com/socketio/engine.io-protocol; revision 3 is its branch v3.
package eio
