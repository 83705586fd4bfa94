package reactor_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/reactor"
)

// descriptors counts this process's open file descriptors.
func descriptors(t testing.TB) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// Descriptors are closed and their numbers reused at a high rate. No connection may see the bytes or
// the end of another, and none may be left open.
func TestChurn(t *testing.T) {
	const workers, rounds = 8, 400
	p := reactor.New(2)
	l := reactor.Listen(listenTCP(t), nil)
	var handlers sync.Map // by the client's address
	var open sync.WaitGroup
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			h := newHandler(t).echo()
			handlers.Store(nc.RemoteAddr().String(), h)
			p.Add(nc, nil, h, h.attach)
			open.Done()
		}
	}()
	open.Add(1)
	warm, err := net.Dial("tcp", l.Addr().String()) // makes the loops open their own descriptors
	if err != nil {
		t.Fatal(err)
	}
	open.Wait()
	h, _ := handlers.Load(warm.LocalAddr().String())
	idle := h.(*handler)
	before := descriptors(t)

	var clients sync.WaitGroup
	for w := range workers {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 0))
			for i := range rounds {
				open.Add(1)
				if err := visit(l.Addr().String(), uint64(w*rounds+i), rng, &handlers); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	open.Wait()
	handlers.Range(func(_, h any) bool {
		if h := h.(*handler); h != idle {
			h.wantClosed()
		}
		return true
	})
	if after := descriptors(t); after > before+2 {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	warm.Close()
	p.Close()
}

// visit connects, checks the echo of a token, and disconnects in one of several ways.
func visit(address string, token uint64, rng *rand.Rand, handlers *sync.Map) error {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer nc.Close()
	want := binary.BigEndian.AppendUint64(nil, token)
	if _, err := nc.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != string(want) {
		return fmt.Errorf("token %x came back as %x, %v", want, got, err)
	}
	h, _ := handlers.Load(nc.LocalAddr().String())
	switch rng.IntN(4) {
	case 0:
		nc.(*net.TCPConn).SetLinger(0) // reset
	case 1:
		nc.Write(want) // leave bytes unread
	case 2:
		h := h.(*handler)
		h.await("attach", func() bool { return h.conn != nil })
		h.conn.Close()
	}
	return nil
}
