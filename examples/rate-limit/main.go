// Command rate-limit bounds what a client may cost: by options of the server, and by middleware with a rule of its own.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/parley-go/parley"
)

// Say sends a text to everybody.
const Say = parley.RPC[string, parley.None]("say")

// budget is what a socket may still send.
var budget = parley.NewKey[*rate.Limiter]()

// limited refuses events of a socket that sends more than one in a while, after a burst. The client learns when it may
// try again.
func limited(every time.Duration, burst int) parley.Handler {
	return func(p *parley.Packet) error {
		l := budget.Get(p.Socket())
		if l == nil {
			l = rate.NewLimiter(rate.Every(every), burst)
			budget.Set(p.Socket(), l) // the events of a socket are handled one after the other
		}
		if r := l.Reserve(); r.Delay() > 0 {
			wait := r.Delay().Milliseconds()
			r.Cancel()
			return &parley.Error{Code: "too_fast", Message: "You send too much", Data: map[string]int64{"retryAfter": wait}}
		}
		return nil
	}
}

func newServer() (*parley.Server, error) {
	srv, err := parley.New(&parley.Options{
		// Who sends more than this is read from more slowly. Nobody else notices.
		EventsPerSecond: 50,
		BytesPerSecond:  1 << 20,
		// One address may have so many connections, and the server so many in all.
		MaxConnectionsPerAddress: 20,
		MaxConnections:           10_000,
		// Behind a proxy, also set ClientAddress, or all clients have the proxy's address.
	})
	if err != nil {
		return nil, err
	}
	srv.UseEvent(limited(time.Second, 5))
	parley.Handle(srv, Say, func(ctx context.Context, s *parley.Socket, text string) (parley.None, error) {
		return parley.None{}, srv.Emit("said", text)
	})
	return srv, nil
}

func main() {
	srv, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	log.Print("http://127.0.0.1:3000")
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", srv))
}
