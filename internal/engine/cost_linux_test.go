package engine_test

import (
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// The cost of a broadcast for each receiver.
func TestDeliveryAllocatesNothing(t *testing.T) {
	s := overTCP(t, engine.Options{PingInterval: time.Hour})
	p, o := s.openWebSocket()
	m := message(long(100))
	frame := make([]byte, len("4")+100+2)
	deliver := func() {
		o.session.Send(m)
		if _, err := io.ReadFull(p.Conn, frame); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		deliver()
	}
	if n := testing.AllocsPerRun(1000, deliver); n > 0 {
		t.Errorf("%v allocations a delivery, want 0", n)
	}
	p.Close()
	o.wantEnded(engine.TransportClose)
}

func TestHeartbeatAllocatesLittle(t *testing.T) {
	s := overTCP(t, engine.Options{PingInterval: time.Millisecond, PingTimeout: time.Minute})
	p, o := s.openWebSocket()
	pong, ping := ws.AppendMaskedFrame(nil, ws.OpText, []byte("3")), make([]byte, 3)
	beat := func() {
		if _, err := io.ReadFull(p.r, ping); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(pong); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		beat()
	}
	if n := testing.AllocsPerRun(200, beat); n > 2 {
		t.Errorf("%v allocations a ping and pong, want at most 2", n)
	}
	p.Close()
	o.wantEnded(engine.TransportClose)
}

func TestReceivingAllocatesNothing(t *testing.T) {
	s := overTCP(t, engine.Options{PingInterval: time.Hour, Open: func(s *engine.Session) engine.Handler {
		return replier{s, message("reply")}
	}})
	p, _ := s.openWebSocket()
	request, reply := ws.AppendMaskedFrame(nil, ws.OpText, []byte("4request")), make([]byte, len("4reply")+2)
	exchange := func() {
		if _, err := p.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(p.r, reply); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		exchange()
	}
	// The test's handler allocates one string for its record.
	if n := testing.AllocsPerRun(1000, exchange); n > 1 {
		t.Errorf("%v allocations a message and reply, want at most the test's own", n)
	}
	p.Close()
}

type replier struct {
	session *engine.Session
	m       *engine.Message
}

func (r replier) Message(bool, []byte)        { r.session.Send(r.m) }
func (r replier) Opened()                     {}
func (r replier) Closed(engine.Reason, error) {}

// idle is a handler without state.
type idle struct{}

func (idle) Message(bool, []byte)        {}
func (idle) Opened()                     {}
func (idle) Closed(engine.Reason, error) {}

// maxIdle limits the heap, in bytes, that an idle WebSocket session may hold. The measured value
// was 1,640; the limit allows a third more.
const maxIdle = 2200

func TestIdleSessionsCostLittle(t *testing.T) {
	const n = 400
	engineServer, err := engine.NewServer(engine.Options{Open: func(*engine.Session) engine.Handler { return idle{} }})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(engineServer)
	defer web.Close()
	defer engineServer.Shutdown(t.Context())
	address := web.Listener.Addr().(*net.TCPAddr)
	request := "GET /engine.io/?" + newWebSocket + " HTTP/1.1\r\nHost: " + web.Listener.Addr().String() +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Origin: http://" + web.Listener.Addr().String() + "\r\nUser-Agent: " + strings.Repeat("a", 110) + "\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n"

	fds := make([]int, 0, n+1)
	defer func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}()
	open := func() { fds = append(fds, rawOpen(t, address, request)) }
	open() // objects that are made only once
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	for range n {
		open()
	}
	eventually(t, "the goroutines of the handshakes to end", func() bool { return runtime.NumGoroutine() <= goroutines+10 })
	per := (heapInUse() - heap) / n
	t.Logf("%d bytes of heap an idle session", per)
	if per > maxIdle {
		t.Errorf("%d bytes of heap an idle session, want at most %d", per, maxIdle)
	}
	if got := engineServer.Sessions(); got != n+1 {
		t.Errorf("%d sessions, want %d", got, n+1)
	}
}

func heapInUse() int {
	runtime.GC()
	runtime.GC() // empties pools
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// rawOpen opens a WebSocket without the net package, whose memory for the connection would count as
// the server's.
func rawOpen(t testing.TB, address *net.TCPAddr, request string) int {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: address.Port, Addr: [4]byte(address.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(fd, []byte(request)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	b := make([]byte, 4096)
	for !strings.Contains(string(got), `"maxPayload"`) {
		n, err := syscall.Read(fd, b)
		if n <= 0 {
			t.Fatalf("handshake: %q, %v", got, err)
		}
		got = append(got, b[:n]...)
	}
	if !strings.HasPrefix(string(got), "HTTP/1.1 101 ") {
		t.Fatalf("handshake: %q", got)
	}
	return fd
}
