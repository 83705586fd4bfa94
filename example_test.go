package parley_test

import (
	"log"
	"net"
	"net/http"
	"time"

	"github.com/parley-go/parley"
)

func Example() {
	srv, err := parley.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	srv.OnConnection(func(s *parley.Socket) { s.Join("lobby") })
	srv.On("message", func(p *parley.Packet) error {
		var text string
		if err := p.Decode(&text); err != nil {
			return err // the client receives the error if it asked for an acknowledgement
		}
		return srv.To("lobby").Emit("message", text)
	})
	http.Handle("/socket.io/", srv)
	http.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}

func ExampleServer_Listen() {
	srv, err := parley.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", ":443")
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Handler: srv, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(web.ServeTLS(srv.Listen(l), "chain.pem", "key.pem"))
}
