// Package chat implements the conversations: rooms with a history, who is in them, and who is
// typing.
//
// A [Service] does not know how clients reach it. That is the job of a thin binding: it decodes
// what its clients send, calls a [Client] of the service, and encodes the result. Package events
// binds the service to Socket.IO, package feeds to Server-Sent Events.
//
// The requests that every room knows:
//
//	Join     → a page of history, then live messages, without a gap
//	Send     → the message is stored and sent to everyone who is in the room or follows it
//	History  → another page
//	Typing   → the others in the room are told; nothing is stored
//	Leave    → nothing more from the room
//	Follow   → history, then live messages, without joining the room
//	Watch    → a page of the list of conversations, then every change of one, without a gap
//
// A room that belongs to a user is a conversation. It has more: a status, an operator, notes of the
// operators, read marks. Package conversation describes all requests. A client may have an identity;
// what it may do in a room then follows from rules (rules.go).
//
// Every refusal is an [*Error]. One table of codes serves all bindings.
package chat
