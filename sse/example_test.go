package sse_test

import (
	"log"
	"net/http"
	"strconv"
	"time"

	"github.com/parley-go/parley/sse"
)

// A clock that sends each client one event per second.
func Example() {
	clock := sse.New(func(s *sse.Stream, r *http.Request, lastID string) (func(), error) {
		tick := time.NewTicker(time.Second)
		go func() {
			for {
				select {
				case now := <-tick.C:
					s.Send(&sse.Event{ID: strconv.FormatInt(now.Unix(), 10), Name: "tick", Data: []byte(now.Format(time.TimeOnly))})
				case <-s.Context().Done(): // the request has ended
					return
				}
			}
		}()
		return tick.Stop, nil
	}, nil)
	http.Handle("/clock", clock)
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}
