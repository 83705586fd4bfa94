package reactor_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/reactor"
)

// handler records what it receives and writes what send queues. It fails the test if it is called out
// of order.
type handler struct {
	t         testing.TB
	conn      reactor.Conn
	onReceive func(b []byte) // also called, if not nil
	onDrain   func()

	mu      sync.Mutex
	changed sync.Cond
	got     []byte
	out     []byte // waiting to be written
	refused int    // how often Write returned false
	closed  bool
	err     error
}

func newHandler(t testing.TB) *handler {
	h := &handler{t: t}
	h.changed.L = &h.mu
	return h
}

func (h *handler) attach(c reactor.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn = c
}

func (h *handler) Receive(b []byte) {
	h.mu.Lock()
	if h.closed {
		h.t.Error("Receive after Closed")
	}
	h.mu.Unlock()
	if h.onReceive != nil {
		h.onReceive(b)
	}
	h.mu.Lock()
	h.got = append(h.got, b...)
	h.changed.Broadcast()
	h.mu.Unlock()
	clear(b) // we may overwrite it until we return
}

func (h *handler) Drain(scratch []byte) {
	if h.onDrain != nil {
		h.onDrain()
	}
	if len(scratch) != reactor.BufferSize {
		h.t.Errorf("scratch has %d bytes", len(scratch))
	}
	for {
		h.mu.Lock()
		n := copy(scratch, h.out)
		h.out = h.out[n:]
		h.mu.Unlock()
		if n == 0 {
			return
		}
		if !h.conn.Write(scratch[:n]) {
			h.mu.Lock()
			h.refused++
			h.changed.Broadcast()
			h.mu.Unlock()
			return
		}
	}
}

func (h *handler) Closed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.t.Error("Closed twice")
	}
	h.closed, h.err = true, err
	h.changed.Broadcast()
}

// send queues b for writing.
func (h *handler) send(b []byte) {
	h.mu.Lock()
	h.out = append(h.out, b...)
	h.mu.Unlock()
	h.conn.Wake()
}

// echo makes the handler send back what it receives.
func (h *handler) echo() *handler {
	h.onReceive = func(b []byte) { h.send(slices.Clone(b)) }
	return h
}

// await waits until cond returns true. It calls cond with the lock held.
func (h *handler) await(what string, cond func() bool) {
	h.t.Helper()
	late := time.AfterFunc(2*time.Minute, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !cond() {
			h.t.Errorf("timed out waiting for %s", what)
			cond = func() bool { return true }
			h.changed.Broadcast()
		}
	})
	defer late.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	for !cond() {
		h.changed.Wait()
	}
}

func (h *handler) wantReceived(want []byte) {
	h.t.Helper()
	h.await("bytes", func() bool { return len(h.got) >= len(want) })
	h.mu.Lock()
	defer h.mu.Unlock()
	if !bytes.Equal(h.got, want) {
		h.t.Errorf("received %d bytes %.50q, want %d bytes %.50q", len(h.got), h.got, len(want), want)
	}
}

func (h *handler) wantClosed() error {
	h.t.Helper()
	h.await("Closed", func() bool { return h.closed })
	return h.err
}

// kind is a kind of connection.
type kind struct {
	name string
	pair func(t testing.TB) (client, server net.Conn)
}

var kinds = []kind{
	{"TCP", func(t testing.TB) (net.Conn, net.Conn) { return tcpPair(t, false) }},
	{"TCP accepted by Listen", func(t testing.TB) (net.Conn, net.Conn) { return tcpPair(t, true) }},
	{"Unix", unixPair},
	{"TLS", func(t testing.TB) (net.Conn, net.Conn) { return tlsPair(t, true, nil) }},
	{"TLS over another listener", func(t testing.TB) (net.Conn, net.Conn) { return tlsPair(t, false, nil) }},
	{"pipe", func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }},
}

// eachKind runs f as a subtest for each kind of connection.
func eachKind(t *testing.T, f func(t *testing.T, pair func(testing.TB) (client, server net.Conn))) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { f(t, k.pair) })
	}
}

func newReactor(t testing.TB) *reactor.Reactor {
	p := reactor.New(1)
	t.Cleanup(p.Close)
	return p
}

func add(p *reactor.Reactor, nc net.Conn, h *handler) *handler {
	p.Add(nc, nil, h, h.attach)
	return h
}

func listenTCP(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func pairOf(t testing.TB, l net.Listener) (client, server net.Conn) {
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(5 * time.Minute))
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func tcpPair(t testing.TB, listen bool) (client, server net.Conn) {
	l := listenTCP(t)
	defer l.Close()
	if listen {
		l = reactor.Listen(l, nil)
	}
	return pairOf(t, l)
}

func unixPair(t testing.TB) (client, server net.Conn) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return pairOf(t, l)
}

// tlsPair connects with TLS. wrap, if not nil, wraps the client's network connection.
func tlsPair(t testing.TB, listen bool, wrap func(net.Conn) net.Conn) (client, server net.Conn) {
	c, s := tcpPair(t, listen)
	if wrap != nil {
		c = wrap(c)
	}
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // the test's own certificate
	ts := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	done := make(chan error, 1)
	go func() { done <- tc.Handshake() }()
	if err := ts.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return tc, ts
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// random returns n random bytes, which differ if they arrive out of order.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
