package parleytest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/parleytest"
)

// The events of the examples.
const (
	Enter = parley.RPC[string, int]("enter") // a room; the answer is how many are in it
	Say   = parley.RPC[string, parley.None]("say")
	Said  = parley.Event[string]("said")
	Name  = parley.RPC[parley.None, string]("name") // the server asks the client
)

// newChat returns what is tested: a chat with one room. o may be nil.
func newChat(o *parley.Options) *parley.Server {
	srv, err := parley.New(o)
	if err != nil {
		log.Fatal(err)
	}
	parley.Handle(srv, Enter, func(ctx context.Context, s *parley.Socket, room string) (int, error) {
		if err := s.Join(room); err != nil {
			return 0, err
		}
		return srv.To(room).Count(ctx)
	})
	parley.Handle(srv, Say, func(ctx context.Context, s *parley.Socket, text string) (none parley.None, err error) {
		if !s.InRoom("lobby") {
			return none, &parley.Error{Code: "not_in_room", Message: "Enter the lobby first"}
		}
		return none, Said.Emit(s.To("lobby"), text)
	})
	return srv
}

// Two clients talk over the server that is tested.
func Example() {
	// In a test, t is the *testing.T of func TestChat(t *testing.T), and the end of the test calls Close.
	s := parleytest.NewServer(t, newChat(nil))
	defer s.Close()

	ann, bob := s.MustDial(), s.MustDial()
	parleytest.MustCall(ann, Enter, "lobby")
	fmt.Println(parleytest.MustCall(bob, Enter, "lobby"), "are in the lobby")

	parleytest.MustCall(ann, Say, "Hello!")
	fmt.Println("Bob hears:", parleytest.Next(bob, Said))
	ann.None() // she does not hear herself

	// Output:
	// 2 are in the lobby
	// Bob hears: Hello!
}

// A handler refuses an event.
func ExampleCall() {
	s := parleytest.NewServer(t, newChat(nil))
	defer s.Close()
	ann := s.MustDial()

	_, err := parleytest.Call(ann, Say, "Hello!") // she has not entered
	var refusal *event.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Code)
	}

	// Output:
	// not_in_room
}

// Names of events and any arguments, in place of descriptors.
func ExampleClient_Next() {
	srv := newChat(nil)
	srv.On("upload", func(p *parley.Packet) error {
		var data []byte
		if err := p.Decode(&data); err != nil {
			return err
		}
		return srv.Emit("uploaded", len(data), data[:2])
	})
	s := parleytest.NewServer(t, srv)
	defer s.Close()
	ann := s.MustDial()

	ann.Emit("upload", []byte{1, 2, 3})
	var size int
	var begins []byte
	ann.Next("uploaded", &size, &begins)
	fmt.Println(size, begins)

	// Output:
	// 3 [1 2]
}

// Middleware refuses whoever does not log in.
func ExampleServer_Dial() {
	srv := newChat(nil)
	srv.Use(func(ctx context.Context, s *parley.Socket) error {
		var auth struct{ Token string }
		if s.DecodeAuth(&auth) != nil || auth.Token != "secret" {
			return &parley.Error{Code: "bad_token", Message: "Log in first"}
		}
		return nil
	})
	s := parleytest.NewServer(t, srv)
	defer s.Close()

	_, err := s.Dial()
	var refusal *event.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Code)
	}
	_, err = s.Dial(parleytest.Auth(map[string]string{"token": "secret"}))
	fmt.Println(err)

	// Output:
	// bad_token
	// <nil>
}

// The server asks the client.
func ExampleHandle() {
	srv := newChat(nil)
	srv.On("greet", func(p *parley.Packet) error {
		name, err := Name.Call(p.Context(), p.Socket(), parley.None{})
		if err != nil {
			return err
		}
		return p.Ack("Hello, " + name)
	})
	s := parleytest.NewServer(t, srv)
	defer s.Close()
	ann := s.MustDial()

	parleytest.Handle(ann, Name, func(parley.None) (string, error) { return "Ann", nil })
	reply, err := ann.Call("greet")
	fmt.Printf("%s %v\n", reply.Args(), err)

	// Output:
	// ["Hello, Ann"] <nil>
}

// A client loses its connection, and misses nothing.
func ExampleClient_Drop() {
	srv := newChat(&parley.Options{Recovery: &parley.Recovery{}})
	s := parleytest.NewServer(t, srv)
	defer s.Close()
	ann := s.MustDial()
	parleytest.MustCall(ann, Enter, "lobby")
	Said.Emit(srv.To("lobby"), "one")
	fmt.Println(parleytest.Next(ann, Said))

	ann.Drop()
	Said.Emit(srv.To("lobby"), "two")
	fmt.Println(ann.Reconnect())
	fmt.Println(parleytest.Next(ann, Said))

	// Output:
	// one
	// true
	// two
}

// A mux with other pages, behind middleware.
func ExampleNewServer_mux() {
	srv := newChat(&parley.Options{AllowRequest: func(r *http.Request) error {
		_, err := r.Cookie("session")
		return err
	}})
	defer srv.Close() // NewServer does not know it
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fine") })
	s := parleytest.NewServer(t, http.MaxBytesHandler(mux, 1<<20))
	defer s.Close()

	ann := s.MustDial(parleytest.Header("Cookie", "session=1"), parleytest.Polling())
	fmt.Println(parleytest.MustCall(ann, Enter, "lobby"), ann.State().Transport)
	response, err := s.HTTP().Get(s.URL + "/healthz")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	fmt.Println(response.Status)

	// Output:
	// 1 polling
	// 200 OK
}

// Several servers form a cluster, over a bus in memory.
func ExampleNewServer_cluster() {
	network := adapter.NewMemory()
	start := func() *parleytest.Server {
		cluster, err := adapter.New(network.Connect(), nil)
		if err != nil {
			log.Fatal(err)
		}
		s := parleytest.NewServer(t, newChat(&parley.Options{Cluster: cluster}))
		if err := cluster.Join(context.Background()); err != nil {
			log.Fatal(err)
		}
		return s
	}
	one, two := start(), start()
	defer one.Close()
	defer two.Close()

	ann, bob := one.MustDial(), two.MustDial()
	parleytest.MustCall(ann, Enter, "lobby")
	parleytest.MustCall(bob, Enter, "lobby")
	parleytest.MustCall(ann, Say, "Hello over there!")
	fmt.Println(parleytest.Next(bob, Said))

	// Output:
	// Hello over there!
}
