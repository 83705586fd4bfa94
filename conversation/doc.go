// Package conversation is the contract between the server of conversations and its clients: the
// events and their payloads, the codes of refusals, and who may do what. docs/events.md and
// js/protocol.d.ts are generated from it.
//
// The descriptors work with any Socket.IO client written in Go:
//
//	joined, err := conversation.JoinRoom.Call(ctx, client, conversation.JoinRequest{RoomID: "r"})
package conversation
