package reactor_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/wiretest"
)

// dribble writes byte by byte. Between any two bytes it makes the reactor find that there are no more.
type dribble struct {
	net.Conn
	between func() // if nil, Write passes on everything at once
}

func (d *dribble) Write(b []byte) (int, error) {
	if d.between == nil {
		return d.Conn.Write(b)
	}
	for i := range b {
		if _, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		d.between()
	}
	return len(b), nil
}

func TestTLSResumesBetweenAnyTwoBytes(t *testing.T) {
	p := newReactor(t)
	other := newEcho(t, p)
	var d *dribble
	client, server := tlsPair(t, true, func(nc net.Conn) net.Conn { d = &dribble{Conn: nc}; return d })
	h := add(p, server, newHandler(t).echo())
	d.between = other.roundTrip
	for _, n := range []int{1, 10, 200, 0, 3} {
		want := random(n)
		if _, err := client.Write(want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the echo of %d bytes differs (%v)", n, err)
		}
	}
	client.Close() // its alert arrives byte by byte, too
	if err := h.wantClosed(); err != io.EOF {
		t.Errorf("Closed(%v), want EOF", err)
	}
}

func TestIdleConnectionsHoldNoGoroutine(t *testing.T) {
	for _, k := range kinds {
		polled := k.name != "pipe" && k.name != "TLS over another listener"
		t.Run(k.name, func(t *testing.T) {
			p := newReactor(t)
			newEcho(t, p).roundTrip() // starts the loop's own goroutine
			before := runtime.NumGoroutine()
			const n = 50
			var all []*handler
			for range n {
				client, server := k.pair(t)
				h := add(p, server, newHandler(t).echo())
				go client.Write([]byte("a"))
				if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				all = append(all, h)
			}
			more := runtime.NumGoroutine() - before
			if polled && more > 10 || !polled && more < n/2 {
				t.Errorf("%d more goroutines with %d idle connections", more, n)
			}
			for _, h := range all {
				h.conn.Close()
				h.wantClosed()
			}
		})
	}
}

// When a connection is handed over or resumed, crypto/tls may hold records that the kernel no longer
// has.
func TestTLSBytesThatWereReadWithTheHandshake(t *testing.T) {
	p := newReactor(t)
	client, server := tlsPair(t, true, nil)
	client.Write([]byte("abc"))
	client.Write([]byte("def"))
	b := make([]byte, 1)
	if _, err := io.ReadFull(server, b); err != nil { // leaves bc, and perhaps more, in crypto/tls
		t.Fatal(err)
	}
	h := newHandler(t)
	p.Add(server, b, h, h.attach)
	h.wantReceived([]byte("abcdef"))
	client.Close()
	h.wantClosed()
}

func TestTLSGarbage(t *testing.T) {
	p := newReactor(t)
	var raw net.Conn
	_, server := tlsPair(t, true, func(nc net.Conn) net.Conn { raw = nc; return nc })
	h := add(p, server, newHandler(t))
	raw.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	if err := h.wantClosed(); err == nil || err == io.EOF {
		t.Errorf("Closed(%v), want a TLS error", err)
	}
	h.wantReceived(nil)
}

// A connection without a descriptor also works behind Listen.
func TestListenOverPipes(t *testing.T) {
	p := newReactor(t)
	pipes := wiretest.Listen()
	l := reactor.Listen(pipes, nil)
	defer l.Close()
	client := make(chan net.Conn, 1)
	go func() {
		nc, err := pipes.Dial(t.Context(), "", "")
		if err != nil {
			t.Error(err)
		}
		tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		if err := tc.Handshake(); err != nil {
			t.Error(err)
		}
		client <- tc
	}()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := <-client
	h := add(p, server, newHandler(t).echo())
	go c.Write([]byte("abc"))
	got := make([]byte, 3)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "abc" {
		t.Errorf("echo %q, %v", got, err)
	}
	h.conn.Close()
	h.wantClosed()
	go io.Copy(io.Discard, c)
	c.Close()
}

// A client whose bytes never run out gets its share of each round, and no more.
func TestTLSFloodSharesTheLoop(t *testing.T) {
	const chunk, chunks = 16 << 10, 64
	p := newReactor(t)
	otherClient, otherServer := tcpPair(t, false)
	answered := make(chan struct{})
	other := newHandler(t)
	other.onReceive = func([]byte) { close(answered) }
	add(p, otherServer, other)

	client, server := tlsPair(t, true, nil)
	written := make(chan struct{}, chunks)
	flood := newHandler(t)
	flooded, before, sent := 0, 0, 0 // bytes: received, received before the other client was read, sent
	flood.onReceive = func(b []byte) {
		if flooded == 0 {
			otherClient.Write([]byte("a"))
		}
		for flooded += len(b); sent <= flooded && sent < chunks*chunk; sent += chunk {
			<-written // so the kernel always has more
		}
		select {
		case <-answered:
		default:
			before = flooded
		}
	}
	add(p, server, flood)
	go func() {
		for range chunks {
			client.Write(make([]byte, chunk))
			written <- struct{}{}
		}
	}()
	flood.await("the whole flood", func() bool { return len(flood.got) == chunks*chunk })
	other.await("the other client", func() bool { return len(other.got) == 1 })
	if before > 3*reactor.BufferSize {
		t.Errorf("%d bytes of the flood were read before the other client", before)
	}
}
