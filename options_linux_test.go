package parley_test

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/parley-go/parley"
)

// tapped is a listener that keeps a descriptor of each accepted connection.
type tapped struct {
	net.Listener
	files chan *os.File
}

func (l *tapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f, err := c.(*net.TCPConn).File() // the same socket
	if err != nil {
		return nil, err
	}
	l.files <- f
	return c, nil
}

func TestSendBuffer(t *testing.T) {
	for size, want := range map[int]int{0: 2 * 64 << 10, 8 << 10: 2 * 8 << 10} { // Linux doubles it
		srv, err := parley.New(&parley.Options{SendBuffer: size})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tap := &tapped{l, make(chan *os.File, 1)}
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(tap) }()
		join(t, "http://"+l.Addr().String(), "")
		f := await(t, "connection", tap.files)
		if got, err := syscall.GetsockoptInt(int(f.Fd()), syscall.SOL_SOCKET, syscall.SO_SNDBUF); err != nil || got != want {
			t.Errorf("SendBuffer %d: SO_SNDBUF is %d, want %d, %v", size, got, want, err)
		}
		f.Close()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		await(t, "end of Serve", ended)
	}
}

// Transports have the names by which clients request them.
func TestTransportNames(t *testing.T) {
	all := []string{parley.TransportPolling, parley.TransportWebSocket, parley.TransportSSE, parley.TransportWebTransport}
	if got := strings.Join(all, " "); got != "polling websocket sse webtransport" {
		t.Error(got)
	}
	if _, err := parley.New(&parley.Options{Transports: all}); err != nil {
		t.Error(err)
	}
}
