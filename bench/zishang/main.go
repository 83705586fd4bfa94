// Command zishang serves the bench application with github.com/zishang520/socket.io on 127.0.0.1.
// The last argument is the port.
package main

import (
	"log"
	"net"
	"net/http"
	"os"

	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	io := socket.NewServer(nil, nil)
	io.On("connection", func(clients ...any) {
		s := clients[0].(*socket.Socket)
		s.On("echo", func(args ...any) { s.Emit("echo", args...) })
		s.On("ackme", func(args ...any) { args[1].(socket.Ack)(args[:1], nil) })
		s.On("joinRoom", func(args ...any) {
			s.Join(room(args[0]))
			args[1].(socket.Ack)([]any{true}, nil)
		})
		s.On("sendMessage", func(args ...any) {
			io.To(room(args[0])).Emit("newMessage", args[0].(map[string]any)["message"])
		})
	})
	http.Handle("/socket.io/", io.ServeHandler(nil))
	log.Fatal(http.ListenAndServe(net.JoinHostPort("127.0.0.1", os.Args[len(os.Args)-1]), nil))
}

func room(arg any) socket.Room { return socket.Room(arg.(map[string]any)["roomId"].(string)) }
