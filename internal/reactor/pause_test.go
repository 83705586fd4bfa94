package reactor_test

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/parley-go/parley/internal/reactor"
)

// reset makes the peer reset the connection.
func reset(client net.Conn) {
	if t, ok := client.(*tls.Conn); ok {
		client = t.NetConn()
	}
	if t, ok := client.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	client.Close()
}

func TestPausedConnectionNoticesAReset(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := add(p, server, newHandler(t))
		h.conn.Pause()
		reset(client)
		if err := h.wantClosed(); err == nil || err == reactor.ErrClosed {
			t.Errorf("Closed(%v)", err)
		}
	})
}

// If a peer has closed the connection normally, a failed write shows it.
func TestPausedConnectionNoticesAFailedWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		add(p, server, h)
		h.conn.Pause()
		go client.Write([]byte("unread")) // over a pipe, Write waits for a reader
		client.Close()
		for range 100 {
			h.send([]byte("a"))
		}
		if err := h.wantClosed(); err == nil || err == reactor.ErrClosed {
			t.Errorf("Closed(%v)", err)
		}
	})
}

// brokenStream is a connection on which every Write fails.
type brokenStream struct {
	net.Conn
}

var errBroken = errors.New("broken")

func (brokenStream) Write([]byte) (int, error) { return 0, errBroken }

func TestPausedStreamNoticesAFailedWrite(t *testing.T) {
	p := newReactor(t)
	client, server := net.Pipe()
	defer client.Close()
	h := newHandler(t)
	p.AddStream(brokenStream{server}, h, h.attach)
	h.conn.Pause()
	client.Write([]byte("a")) // the reactor reads it and holds it back
	h.send([]byte("b"))
	if err := h.wantClosed(); err != errBroken {
		t.Errorf("Closed(%v), want %v", err, errBroken)
	}
	h.wantReceived(nil)
}

// While paused, the handler receives nothing, even if the peer sends bytes and then resets the
// connection.
func TestPausedConnectionReceivesNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := add(p, server, newHandler(t))
		h.conn.Pause()
		if client.LocalAddr().Network() == "pipe" { // Write waits for a reader
			go client.Write(make([]byte, 64<<10))
		} else if _, err := client.Write(make([]byte, 64<<10)); err != nil {
			t.Error(err)
		}
		reset(client)
		h.send([]byte("a")) // a connection with goroutines notices the reset by this
		h.wantClosed()
		h.wantReceived(nil)
	})
}

// After Recall, the reactor calls the handler again when reading resumes.
func TestRecall(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		calls := 0 // guarded by h.mu
		h.onReceive = func(b []byte) {
			h.mu.Lock()
			calls++
			n := calls
			h.mu.Unlock()
			if n < 4 {
				h.conn.Pause()
				h.conn.Recall()
			}
		}
		add(p, server, h)
		go client.Write([]byte("abc"))
		h.wantReceived([]byte("abc"))
		for n := 1; n <= 4; n++ {
			h.await("a call", func() bool { return calls >= n })
			h.mu.Lock()
			if calls != n {
				t.Errorf("%d calls, want %d", calls, n)
			}
			h.mu.Unlock()
			h.conn.Resume()
		}
		go client.Write([]byte("def"))
		h.wantReceived([]byte("abcdef"))
		client.Close()
		h.wantClosed()
	})
}
