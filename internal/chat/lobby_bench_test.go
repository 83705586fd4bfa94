//go:build unix

package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/events"
	"github.com/parley-go/parley/internal/ws"
)

// BenchmarkLobby stores 500 messages a second in 200 conversations, with and without 50 operators who
// watch. It reports the processor time of the whole process, clients included, in per cents of a core.
// The bar is that the operators cost at most 10 % more.
func BenchmarkLobby(b *testing.B) {
	without := lobbyCost(b, 0)
	b.ReportMetric(without, "core%-alone")
	b.ReportMetric(lobbyCost(b, 50)-without, "core%-for-50-operators")
	b.ReportMetric(0, "ns/op")
}

func lobbyCost(b *testing.B, operators int) (core float64) {
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "bench.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	log := history.NewLog(store, nil)
	defer log.Close()
	srv, err := parley.New(&parley.Options{Authorize: new(attacked)})
	if err != nil {
		b.Fatal(err)
	}
	events.Register(srv, chat.New(store, log, chat.Options{
		PageSize: 50, MaxPage: 500, PageBytes: 512 << 10, Timeout: 10 * time.Second, Announcer: events.Announcer(srv),
	}))
	s := httptest.NewServer(srv)
	defer s.Close()
	defer srv.Shutdown(context.Background())
	for i := range attackRooms {
		write(b, store, fmt.Sprint("c_", i), "first")
	}
	var received, stored atomic.Int64
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range operators {
		header := http.Header{"Authorization": {fmt.Sprint("Bearer operator", i)}}
		c, _, err := ws.Dial(ctx, s.URL+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{Header: header})
		if err != nil {
			b.Fatal(err)
		}
		for _, packet := range []string{"40", `420["watchRooms",{}]`} {
			_, _, err := c.ReadMessage(ctx) // the handshake, and the answer to CONNECT
			if err == nil {
				err = c.WriteMessage(ctx, ws.OpText, []byte(packet))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		reading.Go(func() {
			defer c.CloseNow()
			for {
				if _, _, err := c.ReadMessage(ctx); err != nil {
					return
				}
				received.Add(1)
			}
		})
	}
	const seconds = 10
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	begun, spent := time.Now(), processorTime(b)
	for i := 0; i < 500*seconds; i++ {
		for time.Since(begun) < time.Duration(i)*time.Second/500 {
			<-tick.C
		}
		room := fmt.Sprint("c_", (i*7)%attackRooms)
		draft := history.Draft{RoomID: room, UserID: "user of " + room, Message: json.RawMessage(`"hello"`)}
		if err := log.AppendFunc(draft, func(_ history.Appended, err error) {
			if err != nil {
				b.Error(err)
			}
			stored.Add(1)
		}); err != nil {
			b.Fatal(err)
		}
	}
	core = 100 * float64(processorTime(b)-spent) / float64(time.Since(begun))
	b.ReportMetric(float64(received.Load())/seconds, "rows/s")
	b.ReportMetric(float64(stored.Load())/seconds, "messages/s")
	return core
}

// processorTime returns the processor time that the process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
