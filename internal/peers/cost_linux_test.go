package peers_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/peers"
)

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// memory returns the bytes of the heap and of stacks in use.
func memory() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// An idle tunnel has two goroutines and two descriptors, and nothing of the request is kept.
func TestIdleTunnels(t *testing.T) {
	const n = 200
	held := make(chan net.Conn, n)
	p := connect(t, switched(func(conn net.Conn, _ *bufio.Reader) { held <- conn }), func(front *peers.Options) { front.MaxForwards = 2 * n })
	var clients, servers []net.Conn
	open := func() {
		conn, _, _ := p.open("")
		clients, servers = append(clients, conn), append(servers, await(t, "connection", held))
	}
	open()
	eventually(t, "tunnel", func() bool { return p.front.Stats().Tunnels.Load() == 1 })
	goroutines, files, bytes := runtime.NumGoroutine(), descriptors(t), memory()
	for range n {
		open()
	}
	eventually(t, "tunnels", func() bool {
		return p.front.Stats().Tunnels.Load() == n+1 && runtime.NumGoroutine()-goroutines <= 2*n+10
	})
	if got := descriptors(t) - files; got > 4*n+10 { // both sides of two connections
		t.Errorf("%d descriptors for %d tunnels", got, n)
	}
	each := (memory() - bytes) / n
	t.Logf("%d bytes for a tunnel, with its client and its server", each)
	if each > 32<<10 {
		t.Errorf("%d bytes for a tunnel", each)
	}
	for i := range clients {
		clients[i].Close()
		servers[i].Close()
	}
	eventually(t, "end of the tunnels", func() bool {
		return p.front.Stats().Tunnels.Load() == 0 && runtime.NumGoroutine() <= goroutines+10 && descriptors(t) <= files+10
	})
}

// Nothing remains of requests that have been passed on, except for a few idle connections.
func TestNothingRemains(t *testing.T) {
	p := connect(t, echo, nil)
	p.do(p.request("GET", ""))
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	for i := range 300 {
		switch i % 3 {
		case 0:
			p.do(p.request("GET", ""))
		case 1:
			p.do(p.request("POST", strings.Repeat("x", i)))
		case 2: // the client leaves before the answer
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, "POST /socket.io/?sid="+p.sid+" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4")
			conn.Close()
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	eventually(t, "end of the requests", func() bool {
		return runtime.NumGoroutine() <= goroutines+20 && descriptors(t) <= files+20
	})
}

func BenchmarkForward(b *testing.B) {
	p := connect(b, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }, nil)
	for b.Loop() {
		p.do(p.request("POST", "4hello"))
	}
}
