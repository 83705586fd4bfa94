package postgres_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy stands between stores and a server, and cuts a connection when the commit of a transaction passes.
type proxy struct {
	t      *testing.T
	listen net.Listener
	target string

	mu     sync.Mutex
	onNext action
	conns  []net.Conn
	wg     sync.WaitGroup
}

// action is what happens to the next commit.
type action int

const (
	pass      action = iota
	cutBefore        // the connection ends before the commit arrives
	cutAfter         // the connection ends when the server has answered
	hold             // nothing arrives any more, in either direction
)

// newProxy returns a proxy for a database, and its URL. Statements pass as text, so that the proxy can read
// them. This is also how they pass through a pooler of transactions.
func newProxy(t *testing.T, url string) (*proxy, string) {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(url, "@")
	target, _, _ := strings.Cut(rest, "/")
	p := &proxy{t: t, listen: listen, target: target}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		listen.Close()
		p.cut()
		p.wg.Wait()
	})
	return p, strings.Replace(url, target, listen.Addr().String(), 1) + "&default_query_exec_mode=exec"
}

func (p *proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		answered := make(chan struct{}) // closed when the next answer must not pass
		p.wg.Go(func() { p.requests(client, server, answered) })
		p.wg.Go(func() { p.answers(client, server, answered) })
	}
}

func (p *proxy) requests(client, server net.Conn, cut chan struct{}) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(bytes.ToUpper(buf[:n]), []byte("COMMIT\x00")) {
			switch p.next() {
			case cutBefore:
				return
			case cutAfter:
				close(cut)
			case hold:
				client.Read(buf) // until the end
				return
			}
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) answers(client, server net.Conn, cut chan struct{}) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-cut:
			return
		default:
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// onCommit sets what happens to the next commit.
func (p *proxy) onCommit(a action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onNext = a
}

func (p *proxy) next() (a action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, p.onNext = p.onNext, pass
	return a
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
