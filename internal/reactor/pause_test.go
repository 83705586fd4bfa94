package reactor_test

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/parley-go/parley/internal/reactor"
)

// reset has the peer drop the connection without a word.
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

// A peer that has gone in good order is noticed by what it is sent.
func TestPausedConnectionNoticesAFailedWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		add(p, server, h)
		h.conn.Pause()
		go client.Write([]byte("unread")) // over a pipe somebody has to read it
		client.Close()
		for range 100 {
			h.send([]byte("a"))
		}
		if err := h.wantClosed(); err == nil || err == reactor.ErrClosed {
			t.Errorf("Closed(%v)", err)
		}
	})
}

// brokenStream can be read from for ever, and never be written to.
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
	client.Write([]byte("a")) // is read, and held back
	h.send([]byte("b"))
	if err := h.wantClosed(); err != errBroken {
		t.Errorf("Closed(%v), want %v", err, errBroken)
	}
	h.wantReceived(nil)
}

// What a peer has sent before it resets the connection does not get past a pause.
func TestPausedConnectionReceivesNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := add(p, server, newHandler(t))
		h.conn.Pause()
		if client.LocalAddr().Network() == "pipe" { // it takes what is read
			go client.Write(make([]byte, 64<<10))
		} else if _, err := client.Write(make([]byte, 64<<10)); err != nil {
			t.Error(err)
		}
		reset(client)
		h.send([]byte("a")) // where a goroutine reads it notices by this
		h.wantClosed()
		h.wantReceived(nil)
	})
}
