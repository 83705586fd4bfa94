package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/ws"
)

// slowLine is a connection that reads slowly.
type slowLine struct{ net.Conn }

func (c slowLine) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), 16<<10)])
	time.Sleep(time.Duration(n) * time.Second / (4 << 20)) // 4 MiB per second
	return n, err
}

// A client on a slow line asks for many pages at once. It receives all of them in order over its
// one connection, because each waits until the client has taken those before it.
func TestPagesWaitForEachOther(t *testing.T) {
	const rooms, size = 40, 15 << 10
	c := testConfig()
	c.MaxOutbox = 64 << 10 // so a page has about 32 KiB; all pages together have 20 times as much
	store := history.NewMemory()
	for room := range rooms {
		message := json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
		d := history.Draft{RoomID: fmt.Sprint("room ", room), UserID: "u", Message: message}
		if _, err := store.Append(t.Context(), []history.Draft{d, d, d}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := app.NewServer(c, quiet, store)
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	for _, test := range []struct{ name, request string }{
		{"joinRoom", `["joinRoom",{"roomId":"room %d"}]`},
		{"history", `["history",{"roomId":"room %d"}]`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		conn, _, err := ws.Dial(ctx, i.url+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{
			NetDial: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				if err == nil {
					conn.(*net.TCPConn).SetReadBuffer(32 << 10)
				}
				return slowLine{conn}, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		write := func(packet string) {
			t.Helper()
			if err := conn.WriteMessage(ctx, ws.OpText, []byte(packet)); err != nil {
				t.Fatal(err)
			}
		}
		// want reads up to the packet that begins with prefix.
		want := func(prefix string) {
			t.Helper()
			for {
				_, packet, err := conn.ReadMessage(ctx)
				switch {
				case err != nil:
					t.Fatalf("%s: waiting for %q: %v, %d slow consumers", test.name, prefix, err, app.SlowConsumers(s))
				case string(packet) == "2":
					write("3")
				case strings.HasPrefix(string(packet), prefix):
					return
				case strings.HasPrefix(string(packet), "43"):
					t.Fatalf("%s: %.20q, want %q", test.name, packet, prefix)
				}
			}
		}
		write("40")
		want("40{")
		if test.name != "joinRoom" {
			for room := range rooms {
				write(fmt.Sprintf(`42%d["joinRoom",{"roomId":"room %d","limit":1}]`, 100+room, room))
				want(fmt.Sprintf(`43%d[{"roomId":"room %d"`, 100+room, room))
			}
		}
		for room := range rooms {
			write(fmt.Sprintf("42%d"+test.request, room, room))
		}
		for room := range rooms {
			want(fmt.Sprintf(`43%d[{"roomId":"room %d","messages":[{`, room, room))
		}
	}
	if n := app.SlowConsumers(s); n > 0 {
		t.Errorf("%d clients were taken for slow ones", n)
	}
}
