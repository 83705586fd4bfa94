package parley_test

import (
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/eventtest"
)

// News is told to everybody in the room "news".
const News = parley.Event[string]("news")

// A client that loses its connection for a while comes back to the same socket, and gets what it
// has missed.
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
			return // its rooms and its data are as they were
		}
		s.Join("news")
	})
	gone := make(chan parley.Reason)
	srv.OnDisconnect(func(s *parley.Socket, reason parley.Reason) { gone <- reason })
	url, end := listen(srv)
	defer end()

	// Official clients from 4.6 on come back by themselves.
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
