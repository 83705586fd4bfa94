// Command eioecho serves only Engine.IO, below /engine.io/, and sends every message back. It listens
// on 127.0.0.1 and the port given as argument. It uses the heartbeat that the protocol's own test
// suite expects.
package main

import (
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// echo is the handler of a session.
type echo struct{ session *engine.Session }

func (e echo) Message(binary bool, data []byte) {
	e.session.Send(engine.NewMessage(append(make([]byte, engine.Headroom), data...), binary))
}

func (e echo) Opened()                     {}
func (e echo) Closed(engine.Reason, error) {}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: eioecho PORT")
	}
	srv, err := engine.NewServer(engine.Options{
		PingInterval: 300 * time.Millisecond,
		PingTimeout:  200 * time.Millisecond,
		AllowEIO3:    true,
		Open:         func(s *engine.Session) engine.Handler { return echo{s} },
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", srv)
	log.Fatal(http.ListenAndServe(net.JoinHostPort("127.0.0.1", os.Args[1]), mux))
}
