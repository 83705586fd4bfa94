package parley_test

import (
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/eventtest"
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
	gone := make(chan parley.Reason)
	srv.OnDisconnect(func(s *parley.Socket, reason parley.Reason) { gone <- reason })
	url, end := listen(srv)
	defer end()

	// Official clients do this automatically, from version 4.6 on.
	heard := make(chan string)
	listening := func(c *eventtest.Client) {
		eventtest.On(c, News, func(text string) { heard <- text })
	}
	client := connect(url, listening)
	News.Emit(srv.To("news"), "one")
	fmt.Println(<-heard)
	client.Cut()
	fmt.Println("lost:", <-gone)
	News.Emit(srv.To("news"), "two")
	back := connect(url, func(c *eventtest.Client) {
		c.Auth = client.Recovery()
		listening(c)
	})
	fmt.Println(<-heard, back.SID == client.SID)
	back.Cut()
	<-gone

	// Output:
	// one
	// lost: transport close
	// two true
}
