package app_test

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// startClients connects n clients in another process.
func startClients(t *testing.T, url, transport string, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], url, transport)
	cmd.Env = append(os.Environ(), asClients+"="+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "connected\n" {
		t.Fatalf("clients: %q, %v", line, err)
	}
}

func heap() int {
	for range 3 { // empties pools
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// The cost of an idle client: heap and stacks, in bytes, of everything that the binary keeps for
// it, including the socket of the main namespace. Clients have their own connections, with HTTP/2
// if there is TLS, and do not answer pings.
func TestIdleClientsCostLittle(t *testing.T) {
	const n = 150
	for _, tt := range []struct {
		transport  string
		secure     bool
		max        int // half more than the measured value
		goroutines int
	}{
		{"websocket", false, 3_200, 0},
		{"websocket", true, 13_500, 0}, // the documented promise is 20 KiB
		{"sse", false, 40_000, 2},
		{"sse", true, 76_000, 3},
		{"polling", false, 37_000, 2},
		{"polling", true, 67_000, 3},
		{"webtransport", true, 140_000, 11},
	} {
		name := tt.transport
		if tt.secure {
			name += " over TLS"
		}
		t.Run(name, func(t *testing.T) {
			i := start(t, testConfig())
			if tt.secure {
				i, _, _ = startTLS(t)
			}
			startClients(t, i.url, tt.transport, 1) // creates what is created only once
			before, goroutines := heap(), runtime.NumGoroutine()
			startClients(t, i.url, tt.transport, n)
			var more int
			for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				if more = runtime.NumGoroutine() - goroutines - 20; more <= n*tt.goroutines {
					break
				}
			}
			per := (heap() - before) / n
			t.Logf("%d bytes an idle client, %.1f goroutines", per, float64(more)/n)
			if per > tt.max || more > n*tt.goroutines {
				t.Errorf("%d bytes and %.1f goroutines an idle client, want at most %d and %d", per, float64(more)/n, tt.max, tt.goroutines)
			}
		})
	}
}
