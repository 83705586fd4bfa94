package reactor_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/parley-go/parley/internal/reactor"
)

func TestEcho(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := add(p, server, newHandler(t).echo())
		want := random(1 << 20)
		go func() {
			for b := want; len(b) > 0; {
				n := min(len(b), 1+len(b)%9973)
				if _, err := client.Write(b[:n]); err != nil {
					t.Error(err)
					return
				}
				b = b[n:]
			}
		}()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the echo differs (%v)", err)
		}
		client.Close()
		if err := h.wantClosed(); err != io.EOF {
			t.Errorf("Closed(%v), want EOF", err)
		}
	})
}

func TestBufferedBytesComeFirst(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		go client.Write([]byte("second"))
		h := newHandler(t)
		p.Add(server, []byte("first, "), h, func(c reactor.Conn) {
			if len(h.got) > 0 {
				t.Error("Receive before attach")
			}
			h.attach(c)
		})
		h.wantReceived([]byte("first, second"))
		client.Close()
		h.wantClosed()
	})
}

// The connection keeps what the peer does not accept, and calls Drain again when it is gone.
func TestWriteRefuses(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		drains := 0
		h.onDrain = func() { drains++ }
		add(p, server, h)
		want := random(4 << 20)
		h.send(want)
		h.await("Write to refuse", func() bool { return h.refused > 0 })
		for range 100 { // must not cause writes before the peer has accepted what there is
			h.conn.Wake()
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the bytes differ (%v)", err)
		}
		client.Close()
		h.wantClosed()
	})
}

// While bytes wait in the connection, the reactor does not call Drain, so no more bytes are added.
func TestNoDrainWhileTheConnectionIsFull(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		add(p, server, h)
		h.send(random(8 << 20))
		h.await("Write to refuse", func() bool { return h.refused > 0 })
		other := newEcho(t, p)
		for range 50 {
			h.conn.Wake()
			other.roundTrip()
		}
		h.mu.Lock()
		if left := len(h.out); left < 1<<20 {
			t.Errorf("%d bytes left: the connection accepted all of them, although the peer does not read", left)
		}
		h.mu.Unlock()
		client.Close()
		h.wantClosed()
	})
}

// echoClient is a connection whose round trips show that the reactor's loop has completed a round.
type echoClient struct {
	t testing.TB
	net.Conn
}

func newEcho(t testing.TB, p *reactor.Reactor) echoClient {
	client, server := tcpPair(t, false)
	add(p, server, newHandler(t).echo())
	return echoClient{t, client}
}

func (c echoClient) roundTrip() {
	c.t.Helper()
	b := []byte{1}
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatal(err)
	}
}

func TestPauseAndResume(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		// Pause within Receive, so that nothing can be read in between.
		h.onReceive = func([]byte) { h.conn.Pause() }
		add(p, server, h)
		other := newEcho(t, p)
		var want []byte
		for range 20 {
			go client.Write([]byte("abc"))
			want = append(want, "abc"...)
			h.wantReceived(want)
			h.conn.Pause()
			for range 3 {
				other.roundTrip()
			}
			written := make(chan struct{})
			go func() { client.Write([]byte("def")); close(written) }()
			for range 3 {
				other.roundTrip()
			}
			h.wantReceived(want)
			h.conn.Resume()
			want = append(want, "def"...)
			h.wantReceived(want)
			<-written
			h.conn.Resume()
			h.conn.Resume()
		}
		client.Close()
		h.wantClosed()
	})
}

// The network stops a peer that sends to a paused connection.
func TestPausePushesBack(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		pause := sync.OnceFunc(func() { h.conn.Pause() })
		h.onReceive = func([]byte) { pause() }
		add(p, server, h)
		want := random(16 << 20) // more than a kernel buffers
		written := make(chan error, 1)
		go func() { _, err := client.Write(want); written <- err }()
		h.await("the first bytes", func() bool { return len(h.got) > 0 })
		other := newEcho(t, p)
		for range 100 {
			other.roundTrip()
		}
		h.mu.Lock()
		if len(h.got) > 2*reactor.BufferSize {
			t.Errorf("received %d bytes while paused", len(h.got))
		}
		h.mu.Unlock()
		select {
		case err := <-written:
			t.Errorf("the client could write everything to a paused connection (%v)", err)
		default:
		}
		h.conn.Resume()
		h.wantReceived(want)
		client.Close()
		h.wantClosed()
	})
}

func TestClose(t *testing.T) {
	nothing := func(*handler) {}
	for _, tt := range []struct {
		name    string
		prepare func(h *handler) // before the connection is added
		act     func(h *handler, client net.Conn)
	}{
		{"from outside", nothing, func(h *handler, _ net.Conn) { h.conn.Close() }},
		{"within Receive",
			func(h *handler) { h.onReceive = func([]byte) { h.conn.Close() } },
			func(_ *handler, client net.Conn) { client.Write([]byte("a")) }},
		{"within Drain",
			func(h *handler) { h.onDrain = func() { h.conn.Close() } },
			func(h *handler, _ net.Conn) { h.conn.Wake() }},
		{"while paused", nothing, func(h *handler, _ net.Conn) { h.conn.Pause(); h.conn.Close() }},
		{"with unread bytes", nothing, func(h *handler, client net.Conn) {
			h.conn.Pause()
			go client.Write([]byte("abc"))
			h.conn.Close()
		}},
		{"with unsent bytes", nothing, func(h *handler, _ net.Conn) {
			h.send(random(8 << 20))
			h.await("Write to refuse", func() bool { return h.refused > 0 })
			h.conn.Close()
		}},
		{"from everywhere", nothing, func(h *handler, _ net.Conn) {
			var all sync.WaitGroup
			for range 8 {
				all.Go(h.conn.Close)
				all.Go(h.conn.Wake)
				all.Go(h.conn.Pause)
				all.Go(h.conn.Resume)
			}
			all.Wait()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
				p := newReactor(t)
				client, server := pair(t)
				h := newHandler(t)
				tt.prepare(h)
				tt.act(add(p, server, h), client)
				if err := h.wantClosed(); err != reactor.ErrClosed {
					t.Errorf("Closed(%v), want ErrClosed", err)
				}
				io.Copy(io.Discard, client) // returns when the connection is closed
				h.conn.Close()
				h.conn.Wake()
				h.conn.Pause()
				h.conn.Resume()
			})
		})
	}
}

func TestPeerResets(t *testing.T) {
	for name, state := range map[string]func(h *handler){
		"idle":   func(*handler) {},
		"paused": func(h *handler) { h.conn.Pause() },
		"full": func(h *handler) {
			h.send(random(8 << 20))
			h.await("Write to refuse", func() bool { return h.refused > 0 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newReactor(t)
			client, server := tcpPair(t, false)
			h := add(p, server, newHandler(t))
			state(h)
			client.(*net.TCPConn).SetLinger(0)
			client.Close()
			if err := h.wantClosed(); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Closed(%v), want ECONNRESET", err)
			}
		})
	}
}

// When the peer closes its half, the connection ends. The reactor does not wait to write replies.
func TestHalfClose(t *testing.T) {
	p := newReactor(t)
	client, server := tcpPair(t, false)
	h := add(p, server, newHandler(t))
	client.Write([]byte("last words"))
	client.(*net.TCPConn).CloseWrite()
	if err := h.wantClosed(); err != io.EOF {
		t.Errorf("Closed(%v), want EOF", err)
	}
	h.wantReceived([]byte("last words"))
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("our half is still open: %v", err)
	}
}

func TestReactorClose(t *testing.T) {
	p := reactor.New(3)
	var all []*handler
	for range 10 {
		for _, k := range kinds {
			_, server := k.pair(t)
			all = append(all, add(p, server, newHandler(t)))
		}
	}
	p.Close()
	for _, h := range all {
		if err := h.wantClosed(); err != reactor.ErrClosed {
			t.Errorf("Closed(%v), want ErrClosed", err)
		}
	}
	p.Close()
	for _, k := range kinds {
		client, server := k.pair(t)
		h := add(p, server, newHandler(t))
		if err := h.wantClosed(); err != reactor.ErrClosed {
			t.Errorf("%s: Closed(%v) after the reactor was closed, want ErrClosed", k.name, err)
		}
		io.Copy(io.Discard, client)
	}
}

func TestReactorThatWasNeverUsed(t *testing.T) { reactor.New(0).Close() }

func TestConnectionThatIsClosedAlready(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		_, server := pair(t)
		server.Close()
		h := add(p, server, newHandler(t))
		if err := h.wantClosed(); err == nil {
			t.Error("Closed(nil)")
		}
	})
}

func TestNoDrainAfterClosed(t *testing.T) {
	eachKind(t, func(t *testing.T, pair func(testing.TB) (client, server net.Conn)) {
		p := newReactor(t)
		client, server := pair(t)
		h := newHandler(t)
		h.onDrain = func() { t.Error("Drain after Closed") }
		add(p, server, h)
		client.Close()
		h.wantClosed()
		other := newEcho(t, p)
		for range 10 {
			h.conn.Wake()
			other.roundTrip()
		}
	})
}
