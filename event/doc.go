// Package event describes the events that the two sides of a Socket.IO connection exchange: their
// names, the types of their arguments, and the type of their answers. A server and its clients can
// share one package of such descriptors. This package contains no server and no client, so programs
// that use it link neither.
//
//	package chat
//
//	const (
//		Typing = event.Event[Notice]("typing")              // one argument, no answer
//		Draw   = event.Event2[string, Stroke]("draw")       // two arguments, no answer
//		Join   = event.RPC[JoinRequest, JoinAnswer]("join") // one argument, one answer
//	)
//
// Both sides send with a method of the descriptor:
//
//	err := chat.Typing.Emit(to, chat.Notice{…})           // to a room, a client, or a server
//	answer, err := chat.Join.Call(ctx, whom, chat.JoinRequest{…})
//
// Package contract writes TypeScript declarations and documentation from descriptors.
//
// Receiving differs between the sides, because a server's handler also gets the socket of the
// event. For servers, package parley has On, On2 and Handle.
//
// # Errors
//
// A handler refuses an event with an [Error]. On the wire it is the only argument of the
// acknowledgement, an object that cannot be mistaken for a result:
//
//	{"error": {"code": "not_joined", "message": "join the room first"}}
//
// [RPC.Call] returns such an answer as an *Error.
package event
