package adaptertest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy passes TCP connections on, until it is told otherwise.
type Proxy struct {
	Addr string

	t        *testing.T
	target   string
	listener net.Listener
	ended    sync.WaitGroup

	mu      sync.Mutex
	flow    *sync.Cond
	stalled bool
	refuses bool
	closed  bool
	conns   map[net.Conn]bool
}

// NewProxy starts a proxy in front of an address. It ends with its test.
func NewProxy(t *testing.T, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), t: t, target: target, listener: l, conns: map[net.Conn]bool{}}
	p.flow = sync.NewCond(&p.mu)
	p.ended.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.ended.Go(func() { p.pass(client) })
	}
}

// pass connects a client with the target.
func (p *Proxy) pass(client net.Conn) {
	defer client.Close()
	if !p.add(client) {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.add(server) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			p.copy(way[1], way[0])
			client.Close()
			server.Close()
		})
	}
	both.Wait()
}

func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses || p.closed {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.stalled && !p.closed {
			p.flow.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Stall makes all connections stop without a word, or go on.
func (p *Proxy) Stall(stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = stalled
	p.flow.Broadcast()
}

// Cut ends all connections, and refuses new ones until it is called with false.
func (p *Proxy) Cut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = cut
	p.dropLocked()
}

func (p *Proxy) dropLocked() {
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.dropLocked()
	p.flow.Broadcast()
	p.mu.Unlock()
	p.ended.Wait()
}
