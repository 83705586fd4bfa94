// Command board is a shared drawing board, http://127.0.0.1:3000: who is there, where their cursors are, and what they draw.
package main

import (
	"context"
	"embed"
	"log"
	"net/http"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/js"
)

//go:embed index.html
var page embed.FS

// Point is a place on the board, in pixels.
type Point struct{ X, Y int }

// Person is somebody at a board.
type Person struct {
	ID   string `json:"id"` // of the socket
	Name string `json:"name"`
}

// Seat is what Enter asks for.
type Seat struct {
	Board string `json:"board"`
	Name  string `json:"name"`
}

const (
	// Enter takes a seat at a board. The answer is who is there.
	Enter   = parley.RPC[Seat, []Person]("enter")
	Entered = parley.Event[Person]("entered")
	Left    = parley.Event[string]("left") // the id

	// Move says where a client's cursor is, and Moved tells the others: whose, and where.
	Move  = parley.Event[Point]("move")
	Moved = parley.Event2[string, Point]("moved")

	// Draw draws a line between two points.
	Draw  = parley.Event2[Point, Point]("draw")
	Drawn = parley.Event2[Point, Point]("drawn")
)

// seat is where a socket sits.
var seat = parley.NewKey[Seat]()

func newBoards() (*parley.Server, error) {
	srv, err := parley.New(nil)
	if err != nil {
		return nil, err
	}
	parley.Handle(srv, Enter, func(ctx context.Context, s *parley.Socket, q Seat) ([]Person, error) {
		if q.Board == "" || q.Name == "" {
			return nil, &parley.Error{Code: "incomplete", Message: "Say who you are, and which board you want"}
		}
		if _, taken := seat.Lookup(s); taken {
			return nil, &parley.Error{Code: "seated", Message: "You have a seat already"}
		}
		seat.Set(s, q)
		if err := s.Join(room(q)); err != nil {
			return nil, err
		}
		if err := Entered.Emit(s.To(room(q)), Person{s.ID(), q.Name}); err != nil { // to the others
			return nil, err
		}
		return people(ctx, srv, q)
	})
	srv.OnDisconnect(func(s *parley.Socket, _ parley.Reason) {
		if q, ok := seat.Lookup(s); ok {
			Left.Emit(srv.To(room(q)), s.ID())
		}
	})

	// Who is slow misses positions in between, and gets the next one: they are not queued.
	parley.On(srv, Move, func(ctx context.Context, s *parley.Socket, at Point) error {
		return Moved.Emit(s.Volatile().To(room(seat.Get(s))), s.ID(), at)
	})
	// Lines are never dropped.
	parley.On2(srv, Draw, func(ctx context.Context, s *parley.Socket, from, to Point) error {
		return Drawn.Emit(s.To(room(seat.Get(s))), from, to)
	})
	return srv, nil
}

// room returns the room of those who sit at a board.
func room(q Seat) string { return "board:" + q.Board }

// people returns who sits at a board.
func people(ctx context.Context, srv *parley.Server, q Seat) ([]Person, error) {
	sockets, err := srv.To(room(q)).FetchSockets(ctx)
	if err != nil {
		return nil, err
	}
	var all []Person
	for _, info := range sockets {
		all = append(all, Person{info.ID, seat.Get(info).Name})
	}
	return all, nil
}

// routes adds the page and the JavaScript client to the server.
func routes(srv *parley.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	mux.Handle("GET /js/", http.StripPrefix("/js/", http.FileServerFS(js.Files)))
	mux.Handle("GET /{$}", http.FileServerFS(page))
	return mux
}

func main() {
	srv, err := newBoards()
	if err != nil {
		log.Fatal(err)
	}
	log.Print("http://127.0.0.1:3000")
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", routes(srv)))
}
