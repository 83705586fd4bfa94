// Command node-migration is the chat of server.mjs, which runs on Node.js, in Go. client.mjs sees no difference.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/parley-go/parley"
)

// Descriptors say of an event what it carries. The compiler then checks both ends of it.
const (
	Enter  = parley.RPC[string, Members]("enter") // the argument is a room
	Said   = parley.Event[Message]("said")
	Typing = parley.Event[string]("typing") // the argument is a room
	Ask    = parley.RPC[string, []string]("ask")
	// Question asks a client.
	Question = parley.RPC[string, string]("question")
)

// Members is the answer to Enter.
type Members struct {
	Members int `json:"members"`
}

// Message is the argument of Said.
type Message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

var names = map[string]string{"token-of-ann": "ann", "token-of-bob": "bob"}

// name is what socket.data.name is on Node.js.
var name = parley.NewKey[string]()

// token returns what the client has sent as auth.
func token(s *parley.Socket) string {
	var auth struct{ Token string }
	if s.DecodeAuth(&auth) != nil {
		return ""
	}
	return auth.Token
}

func newServer() (*parley.Server, error) {
	srv, err := parley.New(&parley.Options{
		CORS:     parley.CORS{Origins: []string{"http://localhost:5173"}},
		Recovery: &parley.Recovery{MaxDisconnection: 2 * time.Minute},
	})
	if err != nil {
		return nil, err
	}

	srv.Use(func(ctx context.Context, s *parley.Socket) error {
		who, ok := names[token(s)]
		if !ok {
			return &parley.ConnectError{Message: "Log in first", Data: map[string]string{"code": "bad_token"}}
		}
		name.Set(s, who)
		return nil
	})

	srv.OnConnection(func(s *parley.Socket) {
		if !s.Recovered() {
			s.Join("everybody")
		}
	})

	// The handlers are those of all sockets. Which one it is, they are told.
	parley.Handle(srv, Enter, func(ctx context.Context, s *parley.Socket, room string) (Members, error) {
		if err := s.Join(room); err != nil {
			return Members{}, err
		}
		if err := s.To(room).Emit("entered", name.Get(s)); err != nil {
			return Members{}, err
		}
		n, err := srv.To(room).Count(ctx)
		return Members{n}, err
	})

	// An event with several arguments, and perhaps an acknowledgement.
	srv.On("say", func(p *parley.Packet) error {
		var room, text string
		if err := p.Decode(&room, &text); err != nil {
			return err // the client gets the code bad_payload
		}
		if !p.Socket().InRoom(room) {
			return &parley.Error{Code: "not_in_room", Message: "Enter the room first"}
		}
		if err := Said.Emit(srv.To(room), Message{name.Get(p.Socket()), text}); err != nil {
			return err
		}
		return p.Ack(struct{}{}) // does nothing if the client has not asked
	})

	parley.On(srv, Typing, func(ctx context.Context, s *parley.Socket, room string) error {
		return s.Volatile().To(room).Emit("typing", name.Get(s))
	})

	srv.On("file", func(p *parley.Packet) error {
		var file string
		var data []byte // binary
		if err := p.Decode(&file, &data); err != nil {
			return err
		}
		return p.Ack(map[string]any{"name": file, "size": len(data)})
	})

	// It is called once the socket has gone. Rooms still returns those that it was in.
	srv.OnDisconnect(func(s *parley.Socket, reason parley.Reason) {
		for _, room := range s.Rooms() {
			if room != s.ID() {
				srv.To(room).Emit("left", name.Get(s))
			}
		}
	})

	admin := srv.Of("/admin")
	admin.Use(func(ctx context.Context, s *parley.Socket) error {
		if token(s) != "token-of-ann" {
			return &parley.ConnectError{Message: "Administrators only"}
		}
		return nil
	})
	parley.Handle(admin, Ask, func(ctx context.Context, _ *parley.Socket, q string) ([]string, error) {
		replies, err := Question.CallAll(ctx, srv.Timeout(5*time.Second), q)
		if err != nil {
			return nil, err
		}
		var answers []string
		for _, reply := range replies {
			answers = append(answers, reply.Value)
		}
		slices.Sort(answers)
		return answers, nil
	})
	return srv, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3002", "address to listen on")
	flag.Parse()
	srv, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv)
	web := &http.Server{Handler: mux}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(stop, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		srv.Shutdown(ctx) // tells the clients, and waits for handlers
		web.Shutdown(ctx)
	})
	if err := web.Serve(srv.Listen(l)); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stop.Done()
}
