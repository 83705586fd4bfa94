// Package eio encodes and decodes Engine.IO packets and polling payloads,
// protocol revision 4. It is pure: bytes in, packets out, no I/O and no state.
//
// Protocol: https://github.com/socketio/engine.io-protocol
package eio
