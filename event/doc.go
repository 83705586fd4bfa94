// Package event describes the events that the two sides of a Socket.IO connection exchange: their
// names, the types of their arguments, and the type of their answers. A server and its clients
// can share one package of such descriptors. This package contains no server and no client, so
// whoever uses it links neither.
//
//	package chat
//
//	const (
//		Typing = event.Event[Notice]("typing")              // one argument, no answer
//		Draw   = event.Event2[string, Stroke]("draw")       // two arguments, no answer
//		Join   = event.RPC[JoinRequest, JoinAnswer]("join") // one argument, one answer
//	)
//
// To send is a method of the descriptor, whoever sends:
//
//	err := chat.Typing.Emit(to, chat.Notice{…})           // to a room, a client, or a server
//	answer, err := chat.Join.Call(ctx, whom, chat.JoinRequest{…})
//
// To receive differs between the sides, since a server's handler gets the socket that the event
// came from. Package parley has On, On2 and Handle for servers.
//
// # Errors
//
// A handler that refuses an event answers with an [Error]. On the wire it is the only argument of
// the acknowledgement, an object that no result can be mistaken for:
//
//	{"error": {"code": "not_joined", "message": "join the room first"}}
//
// [RPC.Call] returns such an answer as an *Error.
package event
