// Package chat is the conversations: rooms with a history, who is in them, and who is typing.
//
// A [Service] knows nothing of how clients reach it. A binding does, and is thin: it decodes
// what its clients send, calls the service with a context and a [Principal], and encodes what
// comes back. Package events binds the service to Socket.IO, package feeds to Server-Sent
// Events.
//
//	Join     → a page of history, then live messages, without a gap
//	Send     → the message is stored, and reaches all who are in the room or follow it
//	History  → another page
//	Typing   → the others in the room are told; nothing is stored
//	Leave    → nothing more of the room
//	Follow   → history, then live messages, for one who is not in the room
//
// Every refusal is an [*Error]. Its code is one of a single table for all bindings.
package chat
