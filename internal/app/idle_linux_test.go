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

// startClients has n clients connected in another process.
func startClients(t *testing.T, url string, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], url)
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

// maxIdle bounds the heap and stacks, in bytes, of an idle connection over TLS: of all that
// the binary keeps for it, the socket of the main namespace included. It is what is promised;
// measured were 9,000.
const maxIdle = 20 << 10

func TestIdleConnectionsOverTLSCostLittle(t *testing.T) {
	const n = 300
	i, _, _ := startTLS(t)
	startClients(t, i.url, 1) // what is made once
	before, goroutines := heap(), runtime.NumGoroutine()
	startClients(t, i.url, n)
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines+20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines more with %d idle connections", runtime.NumGoroutine()-goroutines, n)
		}
	}
	per := (heap() - before) / n
	t.Logf("%d bytes an idle connection", per)
	if per > maxIdle {
		t.Errorf("%d bytes an idle connection, want at most %d", per, maxIdle)
	}
}
