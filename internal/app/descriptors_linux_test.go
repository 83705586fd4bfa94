package app_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

// The server has fewer descriptors than there are clients. It either accepts and keeps a client, or
// tells it at once to come back later. When some clients have gone, others get in.
func TestMoreClientsThanDescriptors(t *testing.T) {
	cmd := exec.Command("sh", "-c", `ulimit -n 64; exec "$0" "$@"`, os.Args[0], "--addr", "127.0.0.1:0", "--data", "memory")
	cmd.Env = append(os.Environ(), asServer+"=1")
	var log lockedBuffer
	c := launch(t, cmd, &log)

	type outcome struct {
		conn *ws.Conn
		err  error
	}
	const clients = 150
	outcomes := make(chan outcome)
	for range clients {
		go func() {
			conn, resp, err := ws.Dial(t.Context(), c.url+"/socket.io/?EIO=4&transport=websocket", nil)
			switch {
			case err == nil:
				t.Cleanup(func() { conn.CloseNow() })
				if _, open, readErr := conn.ReadMessage(t.Context()); readErr != nil || !strings.HasPrefix(string(open), "0{") {
					err = fmt.Errorf("accepted, and then: %q %w", open, readErr)
				}
			case resp != nil && resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "5":
				err = nil
			case resp != nil:
				err = fmt.Errorf("answer %d: %w", resp.StatusCode, err)
			}
			outcomes <- outcome{conn, err}
		}()
	}
	var accepted []*ws.Conn
	for range clients {
		o := <-outcomes
		if o.err != nil {
			t.Error(o.err)
		}
		if o.conn != nil {
			accepted = append(accepted, o.conn)
		}
	}
	if n := len(accepted); n < 20 || n > 60 {
		t.Errorf("%d of %d clients were accepted", n, clients)
	}
	for _, conn := range accepted { // they are still connected
		if err := conn.WriteMessage(t.Context(), ws.OpText, []byte("40")); err != nil {
			t.Error(err)
		}
		if _, m, err := conn.ReadMessage(t.Context()); err != nil || !strings.HasPrefix(string(m), "40{") {
			t.Errorf("answer to CONNECT: %q, %v", m, err)
		}
	}

	accepted[0].CloseNow()
	accepted[1].CloseNow()
	var metrics string
	waitFor(t, "a descriptor for another client", func() bool {
		_, metrics = request(t, "GET", c.url+"/metrics")
		return strings.Contains(metrics, "connections_opened_total")
	})
	for name, want := range map[string]int{
		`parley_connections_opened_total{transport="websocket"}`: len(accepted),
		`parley_connections_refused_total{reason="descriptors"}`: clients - len(accepted),
		`parley_connections_refused_total{reason="sessions"}`:    0,
		`parley_sockets_connected_total`:                         len(accepted),
	} {
		value := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.*)$`).FindStringSubmatch(metrics)
		if value == nil || value[1] != strconv.Itoa(want) {
			t.Errorf("%s is %v, want %d", name, value, want)
		}
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "too many open files") || !strings.Contains(got, "ulimit -n") {
		t.Errorf("the log says %q", got)
	} else if n := strings.Count(got, "level=WARN"); n > 2 { // one for refusing, one for accepting
		t.Errorf("%d warnings: %q", n, got)
	}
}
