package reactor_test

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"

	"github.com/parley-go/parley/internal/reactor"
)

func TestSendBuffer(t *testing.T) {
	unset := sendBuffer(t, 0, nil)
	for _, size := range []int{8 << 10, 64 << 10} {
		for name, wrap := range map[string]func(net.Conn) net.Conn{
			"polled":   nil,
			"blocking": func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) },
		} {
			if got := sendBuffer(t, size, wrap); got != 2*size { // Linux doubles it
				t.Errorf("%s: SO_SNDBUF is %d, want twice %d", name, got, size)
			}
		}
	}
	if got := sendBuffer(t, 0, nil); got != unset {
		t.Errorf("SO_SNDBUF is %d, want the system's %d", got, unset)
	}
}

// sendBuffer returns the SO_SNDBUF of a connection in a Reactor with that SendBuffer.
func sendBuffer(t *testing.T, size int, wrap func(net.Conn) net.Conn) int {
	t.Helper()
	p := reactor.New(1)
	defer p.Close()
	p.SendBuffer = size
	_, server := tcpPair(t, false)
	f, err := server.(*net.TCPConn).File() // the same socket, which outlives its connection
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if wrap != nil {
		server = wrap(server)
	}
	h := newHandler(t)
	add(p, server, h)
	n, err := syscall.GetsockoptInt(int(f.Fd()), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
