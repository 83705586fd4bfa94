package parley_test

import (
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/parleytest"
)

// News is sent to all clients in the room "news".
const News = parley.Event[string]("news")

// A client loses its connection for a while, then comes back to the same socket and receives what
// it missed.
func Example_recovery() {
	srv, err := parley.New(&parley.Options{
		Recovery: &parley.Recovery{MaxDisconnection: 2 * time.Minute},
		Logger:   quiet,
	})
	if err != nil {
		log.Fatal(err)
	}
	srv.OnConnection(func(s *parley.Socket) {
		if s.Recovered() {
			return // its rooms and data are restored
		}
		s.Join("news")
	})
	gone := make(chan parley.Reason, 10)
	srv.OnDisconnect(func(s *parley.Socket, reason parley.Reason) { gone <- reason })
	s := parleytest.NewServer(nil, srv) // in memory; a program calls srv.ListenAndServe
	defer s.Close()

	// Official clients do this automatically, from version 4.6 on.
	client := s.MustDial()
	News.Emit(srv.To("news"), "one")
	fmt.Println(parleytest.Next(client, News))
	client.Drop()
	fmt.Println("lost:", <-gone)
	News.Emit(srv.To("news"), "two")
	fmt.Println("recovered:", client.Reconnect())
	fmt.Println(parleytest.Next(client, News))

	// Output:
	// one
	// lost: transport close
	// recovered: true
	// two
}
