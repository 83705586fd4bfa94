package historyio_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historyio"
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

	rooms := historyio.New(srv.Of("/"), log, nil)
	srv.On("join", func(p *parley.Packet) error {
		var q struct {
			Room  string `json:"room"`
			After int64  `json:"after"` // the client's last message, and its epoch, if it comes back
			Epoch string `json:"epoch"`
		}
		if err := p.Decode(&q); err != nil {
			return err
		}
		has := history.OpenOptions{Since: q.After, Epoch: q.Epoch}
		return rooms.Join(p.Context(), p.Socket(), q.Room, has, func(o history.Opened) { p.Ack(o) })
	})
	srv.On("leave", func(p *parley.Packet) error {
		var room string
		if err := p.Decode(&room); err != nil {
			return err
		}
		rooms.Leave(p.Socket(), room)
		return p.Ack()
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
