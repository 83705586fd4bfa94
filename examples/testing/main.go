// Command testing is a chat on http://127.0.0.1:3000 whose handlers have tests: see main_test.go.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
)

// Message is what somebody says in a room.
type Message struct{ Room, From, Text string }

// The events of the chat.
const (
	Enter  = parley.RPC[string, int]("enter") // a room; the answer is how many are in it
	Say    = parley.RPC[Message, parley.None]("say")
	Said   = parley.Event[Message]("said")
	Locale = parley.RPC[parley.None, string]("locale")  // the server asks for the user's language
	Ackme  = parley.RPC[json.RawMessage, bool]("ackme") // for parley bench
)

// quiet is how long a user may say nothing.
const quiet = 10 * time.Minute

var (
	user = parley.NewKey[string]()
	idle = parley.NewKey[*time.Timer]()
)

// chat returns a server for users with these tokens. cluster may be nil.
func chat(users map[string]string, cluster adapter.Cluster) (*parley.Server, error) {
	srv, err := parley.New(&parley.Options{Recovery: &parley.Recovery{}, Cluster: cluster})
	if err != nil {
		return nil, err
	}
	srv.Use(func(ctx context.Context, s *parley.Socket) error {
		var auth struct{ Token string }
		if err := s.DecodeAuth(&auth); err != nil {
			return err
		}
		name, ok := users[auth.Token]
		if !ok {
			return &parley.Error{Code: "bad_token", Message: "Log in first"}
		}
		user.Set(s, name)
		return nil
	})
	srv.OnConnection(func(s *parley.Socket) {
		idle.Set(s, time.AfterFunc(quiet, func() { s.Disconnect(true) }))
	})
	srv.OnDisconnect(func(s *parley.Socket, _ parley.Reason) { idle.Get(s).Stop() })
	parley.Handle(srv, Enter, func(ctx context.Context, s *parley.Socket, room string) (int, error) {
		locale, err := Locale.Call(ctx, s, parley.None{})
		if err != nil {
			return 0, err
		}
		if err := s.Join(room, "locale "+locale); err != nil {
			return 0, err
		}
		return srv.To(room).Count(ctx)
	})
	parley.Handle(srv, Say, func(ctx context.Context, s *parley.Socket, m Message) (none parley.None, err error) {
		if !s.InRoom(m.Room) {
			return none, &parley.Error{Code: "not_in_room", Message: "Enter the room first"}
		}
		idle.Get(s).Reset(quiet)
		m.From = user.Get(s)
		return none, Said.Emit(s.To(m.Room), m)
	})
	parley.Handle(srv, Ackme, func(context.Context, *parley.Socket, json.RawMessage) (bool, error) { return true, nil })
	return srv, nil
}

func site(srv *parley.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func main() {
	srv, err := chat(map[string]string{"secret-a": "Ann", "secret-b": "Bob"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", site(srv)))
}
