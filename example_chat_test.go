package parley_test

import (
	"context"
	"fmt"
	"log"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/parleytest"
)

// ChatMessage is a message in a room.
type ChatMessage struct {
	Room string `json:"room"`
	Text string `json:"text"`
}

// Events of the chat.
const (
	Enter = parley.RPC[string, int]("enter") // argument: a room's name; answer: how many clients are in it
	Say   = parley.Event[ChatMessage]("say") // from a client to the server
	Said  = parley.Event[ChatMessage]("said")
)

// A chat with rooms. Clients enter rooms, and each message goes to all others in the room.
func Example_chatRoom() {
	srv, err := parley.New(&parley.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	parley.Handle(srv, Enter, func(ctx context.Context, s *parley.Socket, room string) (int, error) {
		if err := s.Join(room); err != nil {
			return 0, err
		}
		return srv.To(room).Count(ctx)
	})
	parley.On(srv, Say, func(ctx context.Context, s *parley.Socket, m ChatMessage) error {
		if !s.InRoom(m.Room) {
			return &parley.Error{Code: "not_in_room", Message: "Enter the room first"}
		}
		return Said.Emit(s.To(m.Room), m) // to the others; srv.To would include the sender
	})
	s := parleytest.NewServer(nil, srv) // in memory; a program calls srv.ListenAndServe
	defer s.Close()

	// In JavaScript:
	//	socket.on("said", ({room, text}) => console.log(room, text))
	//	const {error} = await socket.emitWithAck("enter", "lobby")
	ann := s.MustDial()
	parleytest.MustCall(ann, Enter, "lobby")

	//	await socket.emitWithAck("enter", "lobby")
	//	socket.emit("say", {room: "lobby", text: "Hello!"})
	bob := s.MustDial()
	fmt.Println(parleytest.MustCall(bob, Enter, "lobby"), "in the lobby")
	parleytest.Send(bob, Say, ChatMessage{Room: "lobby", Text: "Hello!"})
	fmt.Printf("%+v\n", parleytest.Next(ann, Said))

	// Output:
	// 2 in the lobby
	// {Room:lobby Text:Hello!}
}
