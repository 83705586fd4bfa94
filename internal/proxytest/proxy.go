// Package proxytest is a TCP proxy with faults, for tests.
package proxytest

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy passes on connections to any addresses, until it is told otherwise. It ends with its test. It is
// safe for concurrent use.
type Proxy struct {
	t testing.TB

	mu       sync.Mutex
	changed  *sync.Cond
	fronts   map[string]net.Listener // by the address to which they lead
	links    map[*link]bool
	swallows bool
	stalls   bool
	freezes  bool
	closed   bool
	ended    sync.WaitGroup
}

// link is a connection that passes through.
type link struct {
	client, server net.Conn
	lost           bool // bytes have been swallowed
}

// New returns a proxy that passes everything on.
func New(t testing.TB) *Proxy {
	p := &Proxy{t: t, fronts: map[string]net.Listener{}, links: map[*link]bool{}}
	p.changed = sync.NewCond(&p.mu)
	t.Cleanup(p.close)
	return p
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.fronts {
		l.Close()
	}
	for c := range p.links {
		c.close()
	}
	p.changed.Broadcast()
	p.mu.Unlock()
	p.ended.Wait()
}

func (c *link) close() {
	c.client.Close()
	c.server.Close()
}

// To returns an address that leads to another one.
func (p *Proxy) To(addr string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.fronts[addr]
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			p.t.Error(err)
			return addr
		}
		p.fronts[addr] = l
		p.ended.Go(func() { p.accept(l, addr) })
	}
	return l.Addr().String()
}

// Dial connects to an address through the proxy.
func (p *Proxy) Dial(ctx context.Context, d *net.Dialer, addr string) (net.Conn, error) {
	return d.DialContext(ctx, "tcp", p.To(addr))
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.links {
		c.close()
	}
}

// Swallow makes all connections half-open: they stay, also new ones, but what is sent is lost. When it ends,
// the connections that have lost something break.
func (p *Proxy) Swallow(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallows = on
	for c := range p.links {
		if c.lost && !on {
			c.close()
		}
	}
}

// Stall makes clients slow readers: the proxy no longer reads what servers send to them.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalls = on
	p.changed.Broadcast()
}

// Freeze makes all connections stop: the proxy no longer reads anything.
func (p *Proxy) Freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freezes = on
	p.changed.Broadcast()
}

func (p *Proxy) accept(l net.Listener, addr string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", addr)
		if err != nil {
			client.Close()
			continue
		}
		c := &link{client: client, server: server}
		p.mu.Lock()
		if p.closed {
			c.close()
			p.mu.Unlock()
			return
		}
		p.links[c] = true
		p.mu.Unlock()
		var ways sync.WaitGroup
		ways.Go(func() { p.pass(c, server, client, func() bool { return p.freezes }) })
		ways.Go(func() { p.pass(c, client, server, func() bool { return p.stalls || p.freezes }) })
		p.ended.Go(func() {
			ways.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.links, c)
		})
	}
}

// pass copies one way, and closes both ends when one is closed.
func (p *Proxy) pass(c *link, to, from net.Conn, stalled func() bool) {
	defer c.close()
	buffer := make([]byte, 32<<10)
	for {
		p.mu.Lock()
		for stalled() && !p.closed {
			p.changed.Wait()
		}
		p.mu.Unlock()
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		swallowed := p.swallows || c.lost
		c.lost = swallowed
		p.mu.Unlock()
		if swallowed {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
