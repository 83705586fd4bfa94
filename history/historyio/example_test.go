package historyio_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historyio"
)

// JoinRequest says which room to join. After is the client's last message and Epoch what it belongs to, if the
// client comes back.
type JoinRequest struct {
	Room  string `json:"room"`
	After int64  `json:"after"`
	Epoch string `json:"epoch"`
}

const (
	Join  = parley.RPC[JoinRequest, history.Opened]("join")
	Leave = parley.RPC[string, parley.None]("leave")
)

// A client joins a room, loses its connection, gets its socket back, and leaves the room. It
// receives every message in between, once and in order.
func Example() {
	ctx := context.Background()
	log := history.NewLog(history.NewMemory(), nil) // or a store of package sqlite
	defer log.Close()
	srv, err := parley.New(&parley.Options{Recovery: &parley.Recovery{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	rooms := historyio.New(srv, log, nil)
	parley.HandleStream(srv, Join, func(ctx context.Context, s *parley.Socket, q JoinRequest, ack func(history.Opened) error) error {
		since := history.OpenOptions{Since: q.After, Epoch: q.Epoch}
		return rooms.Join(ctx, s, q.Room, since, func(o history.Opened) { ack(o) })
	})
	parley.Handle(srv, Leave, func(_ context.Context, s *parley.Socket, room string) (parley.None, error) {
		rooms.Leave(s, room)
		return parley.None{}, nil
	})
	disconnected := make(chan bool, 2)
	srv.OnDisconnect(func(*parley.Socket, parley.Reason) { disconnected <- true })

	web := httptest.NewServer(srv)
	defer web.Close()
	say := func(text string) {
		log.Append(ctx, history.Draft{RoomID: "lobby", UserID: "ann", Message: fmt.Appendf(nil, "%q", text)})
	}

	say("before bob came")
	bob := &client{url: web.URL}
	bob.dial(ctx)
	fmt.Println("joined, and read", bob.join(ctx, "lobby"))
	say("hello bob")
	fmt.Println("heard", bob.hear(ctx))

	bob.conn.CloseNow() // simulates a network failure
	<-disconnected
	say("are you there?")
	bob.dial(ctx) // official clients do this automatically
	say("welcome back")
	fmt.Println("heard", bob.hear(ctx))
	fmt.Println("heard", bob.hear(ctx))

	bob.ask(ctx, "leave", "lobby")
	say("bob has left")
	fmt.Println("joined again, and read", bob.join(ctx, "lobby"))

	// Output:
	// joined, and read [before bob came]
	// heard hello bob
	// heard are you there?
	// heard welcome back
	// joined again, and read [bob has left]
}
