// Package chat implements the conversations: rooms with a history, who is in them, and who is
// typing.
//
// A [Service] does not know how clients reach it. That is the job of a thin binding: it decodes
// what its clients send, calls the service with a context and a [Principal], and encodes the
// result. Package events binds the service to Socket.IO, package feeds to Server-Sent Events.
//
// The requests and their results:
//
//	Join     → a page of history, then live messages, without a gap
//	Send     → the message is stored and sent to everyone who is in the room or follows it
//	History  → another page
//	Typing   → the others in the room are told; nothing is stored
//	Leave    → nothing more from the room
//	Follow   → history, then live messages, without joining the room
//
// Every refusal is an [*Error]. One table of codes serves all bindings.
package chat
