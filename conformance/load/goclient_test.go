//go:build linux

package load

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goclient "github.com/parley-go/parley/client"
)

// maxClient is the limit for the memory of an idle client of package client, in bytes of heap and stacks.
const maxClient = 8 << 10

// Idle clients are cheap: they have no goroutine, and little memory. They stay connected.
func TestIdleGoClients(t *testing.T) {
	n := size(10_000, 10_000)
	server := start(t, serverConfig{PingInterval: 5 * time.Second})
	goroutines, before := held()
	clients := make([]*goclient.Client, n)
	var next, lost atomic.Int64
	var dialing sync.WaitGroup
	for range 50 {
		dialing.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				c, err := goclient.Dial(ctx, "http://"+server.address, &goclient.Options{Transports: []string{"websocket"}})
				cancel()
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				c.OnDisconnect(func(error) { lost.Add(1) })
				clients[i] = c
			}
		})
	}
	dialing.Wait()
	if t.Failed() {
		return
	}
	eventually(t, "the goroutines of attempts to end", func() bool { return runtime.NumGoroutine() <= goroutines+10 })
	_, after := held()
	each := (after - before) / n
	t.Logf("%d clients: %d bytes each", n, each)
	if each > maxClient && !raceEnabled {
		t.Errorf("an idle client has %d bytes, want at most %d", each, maxClient)
	}
	if s := server.usage().Sockets; s.Sockets != n || lost.Load() > 0 {
		t.Errorf("%d sockets, %d lost", s.Sockets, lost.Load())
	}
	var closing sync.WaitGroup
	next.Store(0)
	for range 50 {
		closing.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				clients[i].Close()
			}
		})
	}
	closing.Wait()
	eventually(t, "the server's sockets to go", func() bool { return server.usage().Sockets.Sockets == 0 })
}

// held returns the goroutines of this process, and its bytes of heap and stacks.
func held() (goroutines, bytes int) {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what the first call has moved to the pools' victim caches
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int(m.HeapAlloc + m.StackInuse)
}
