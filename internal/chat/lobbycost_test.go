//go:build unix

package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/events"
	"github.com/parley-go/parley/internal/ws"
)

// TestLobbyCost stores 500 messages a second in 200 conversations, with and without 50 operators who
// watch. It compares the processor time of a row that an operator gets, in the whole process with the
// clients, with bare writing and reading. Without SCALE, which "make perf" sets, it checks with few
// operators that the rows come, and no bar.
func TestLobbyCost(t *testing.T) {
	operators, duration := 50, 10*time.Second
	if os.Getenv("SCALE") == "" {
		operators, duration = 3, 500*time.Millisecond
	}
	without := measureLobby(t, 0, duration)
	with := measureLobby(t, operators, duration)
	if with.rows == 0 {
		t.Fatal("no operator got a row")
	}
	if os.Getenv("SCALE") == "" {
		return
	}
	more := with.spent - without.spent
	t.Logf("%d operators cost %.1f %% of a core more than the %.1f %% of the messages: %d rows a second, %d bytes each", operators,
		100*more.Seconds()/duration.Seconds(), 100*without.spent.Seconds()/duration.Seconds(), with.rows/int64(duration.Seconds()), with.bytes/with.rows)
	cost := bar.Bar{Name: fmt.Sprint("a row of the lobby, for each of ", operators, " operators"), Value: float64(more.Nanoseconds()) / 1e3 / float64(with.rows), Unit: "µs",
		Reference: "bare writing and reading of as many bytes", Base: bareRow(t, int(with.bytes/with.rows)), Most: 1.2}
	if !cost.Holds() {
		t.Error(cost)
		return
	}
	t.Log(cost)
}

// bareRow returns the processor time of writing some bytes to a loopback connection and reading them, in
// microseconds.
func bareRow(t *testing.T, size int) float64 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	row, best := make([]byte, size), math.Inf(1)
	for range 20 { // whatever else runs on the machine only adds to it
		const rows = 2000
		before := processorTime(t)
		for range rows {
			if _, err := to.Write(row); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(from, row); err != nil {
				t.Fatal(err)
			}
		}
		best = min(best, float64((processorTime(t)-before).Nanoseconds())/1e3/rows)
	}
	return best
}

// lobbyCost is what some time in the lobby takes.
type lobbyCost struct {
	spent       time.Duration // of the processor
	rows, bytes int64         // that operators have got
}

func measureLobby(t *testing.T, operators int, duration time.Duration) (cost lobbyCost) {
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "bench.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	log := history.NewLog(store, nil)
	defer log.Close()
	srv, err := parley.New(&parley.Options{Authorize: new(attacked)})
	if err != nil {
		t.Fatal(err)
	}
	events.Register(srv, chat.New(store, log, chat.Options{
		PageSize: 50, MaxPage: 500, PageBytes: 512 << 10, Timeout: 10 * time.Second, Announcer: events.Announcer(srv),
	}))
	s := httptest.NewServer(srv)
	defer s.Close()
	defer srv.Shutdown(context.Background())
	for i := range attackRooms {
		write(t, store, fmt.Sprint("c_", i), "first")
	}
	var received, bytes atomic.Int64
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range operators {
		header := http.Header{"Authorization": {fmt.Sprint("Bearer operator", i)}}
		c, _, err := ws.Dial(ctx, s.URL+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{Header: header})
		if err != nil {
			t.Fatal(err)
		}
		for _, packet := range []string{"40", `420["watchRooms",{}]`} {
			_, _, err := c.ReadMessage(ctx) // the handshake, and the answer to CONNECT
			if err == nil {
				err = c.WriteMessage(ctx, ws.OpText, []byte(packet))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for answered := false; !answered; {
			_, packet, err := c.ReadMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			answered = strings.HasPrefix(string(packet), "430")
		}
		reading.Go(func() {
			defer c.CloseNow()
			for {
				_, packet, err := c.ReadMessage(ctx)
				if err != nil {
					return
				}
				received.Add(1)
				bytes.Add(int64(len(packet)))
			}
		})
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	got, gotBytes := received.Load(), bytes.Load()
	begun, spent := time.Now(), processorTime(t)
	const rate = 500
	for i := range int(rate * duration / time.Second) {
		for time.Since(begun) < time.Duration(i)*time.Second/rate {
			<-tick.C
		}
		room := fmt.Sprint("c_", (i*7)%attackRooms)
		draft := history.Draft{RoomID: room, UserID: "user of " + room, Message: json.RawMessage(`"hello"`)}
		if err := log.AppendFunc(draft, func(_ history.Appended, err error) {
			if err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	for giveUp := time.Now().Add(2 * time.Minute); operators > 0 && received.Load() == got && time.Now().Before(giveUp); {
		<-tick.C
	}
	return lobbyCost{processorTime(t) - spent, received.Load() - got, bytes.Load() - gotBytes}
}

// processorTime returns the processor time that the process has used.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
