// Command yardstick serves a small application for performance measurements. It listens on 127.0.0.1
// and the port in its last argument. Its events are:
//
//	"echo" (any)                       → emits "echo" with the same argument
//	"ackme" (any)                      → acknowledges with the same argument
//	"joinRoom" {roomId, userId}        → joins the room, acknowledges with true
//	"sendMessage" {roomId, message}    → emits "newMessage" with the message to the room
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"os"

	"github.com/parley-go/parley"
)

type join struct {
	RoomID string `json:"roomId"`
}

type draft struct {
	RoomID  string          `json:"roomId"`
	Message json.RawMessage `json:"message"`
}

const (
	echo        = parley.Event[json.RawMessage]("echo")
	ackMe       = parley.RPC[json.RawMessage, json.RawMessage]("ackme")
	joinRoom    = parley.RPC[join, bool]("joinRoom")
	sendMessage = parley.Event[draft]("sendMessage")
	newMessage  = parley.Event[json.RawMessage]("newMessage")
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: yardstick PORT")
	}
	srv, err := parley.New(&parley.Options{CORS: parley.CORS{Origins: []string{"*"}}})
	if err != nil {
		log.Fatal(err)
	}
	parley.On(srv, echo, func(_ context.Context, s *parley.Socket, v json.RawMessage) error {
		return echo.Emit(s, v)
	})
	parley.Handle(srv, ackMe, func(_ context.Context, _ *parley.Socket, v json.RawMessage) (json.RawMessage, error) {
		return v, nil
	})
	parley.Handle(srv, joinRoom, func(_ context.Context, s *parley.Socket, j join) (bool, error) {
		return true, s.Join(j.RoomID)
	})
	parley.On(srv, sendMessage, func(_ context.Context, _ *parley.Socket, d draft) error {
		return newMessage.Emit(srv.To(d.RoomID), d.Message)
	})
	log.Fatal(srv.ListenAndServe(net.JoinHostPort("127.0.0.1", os.Args[len(os.Args)-1])))
}
