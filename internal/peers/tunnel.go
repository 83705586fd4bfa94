package peers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/ws"
)

const (
	tunnelBuffer = 4 << 10 // for each direction
	// halfClosed is how long nothing may come from one side after the other one has ended its direction.
	halfClosed = 10 * time.Second
	// fewTunnels is up to how many tunnels are never too many.
	fewTunnels = 20
)

// end is one of the two connections of a tunnel.
type end interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// beginTunnel makes out ask for a WebSocket, as r does.
func beginTunnel(out, r *http.Request) {
	out.Method = http.MethodGet
	out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, r.Header["Upgrade"]
	if ws.OverHTTP2(r) { // has no key (RFC 8441, 5)
		var key [16]byte
		rand.Read(key[:])
		out.Header.Set("Upgrade", "websocket")
		out.Header.Set("Sec-Websocket-Key", base64.StdEncoding.EncodeToString(key[:]))
	}
}

// tunnel opens a WebSocket at its server, and connects the client to it. It calls Peers.end when that
// has ended.
func (p *Peers) tunnel(w http.ResponseWriter, r *http.Request, o *owner, node adapter.Node) (served bool, why string) {
	var conn net.Conn
	var buffered *bufio.Reader
	over := func() {
		if conn != nil {
			conn.Close()
		}
		p.end()
	}
	ctx, cancel := context.WithTimeout(r.Context(), dialTimeout)
	defer cancel()
	defer context.AfterFunc(p.closing, cancel)()
	resp, err := p.ask(ctx, r, o, node, true, nil, func(out *http.Request) (resp *http.Response, err error) {
		if conn != nil {
			conn.Close()
		}
		if conn, err = p.dial(ctx, "tcp", node.Address); err != nil {
			return nil, err
		}
		deadline, _ := ctx.Deadline()
		conn.SetDeadline(deadline)
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		if err := out.Write(conn); err != nil {
			return nil, err
		}
		buffered = bufio.NewReader(conn)
		return http.ReadResponse(buffered, out)
	})
	if err != nil {
		over()
		return p.failed(r, node, err)
	}
	p.stats.Forwarded.Add(1)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer over()
		p.relay(w, resp, cancel)
		return true, ""
	}
	first, _ := buffered.Peek(buffered.Buffered())
	if ws.OverHTTP2(r) {
		defer over()
		copyHeader(w.Header(), resp.Header)
		w.Header().Del("Sec-Websocket-Accept")
		w.WriteHeader(http.StatusOK)
		c := &stream{r: r.Body, w: w, control: http.NewResponseController(w), flush: true}
		c.control.Flush()
		p.couple(c, conn, nil, first)
		return true, ""
	}
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		over()
		p.opts.Notices.Post(slog.LevelWarn, "hijack", "parley: WebSockets cannot be passed on",
			"cause", err, "hint", "middleware in front wraps the ResponseWriter: give its type a method Unwrap() http.ResponseWriter, or keep it off this path")
		return false, "WebSocket is not possible here"
	}
	copyHeader(w.Header(), resp.Header)
	h := w.Header()
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, resp.Header["Upgrade"]
	b := bytes.NewBufferString("HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(b)
	b.WriteString("\r\n")
	b.Write(first)
	sent, _ := rw.Reader.Peek(rw.Reader.Buffered())
	go func() { // the handler returns, and with it everything that net/http keeps for the request
		defer over()
		p.couple(client, conn, sent, b.Bytes())
	}()
	return true, ""
}

// couple copies bytes between a client and its server until both directions have ended, beginning with
// what was read from each before. Then it closes both.
func (p *Peers) couple(client, server end, fromClient, fromServer []byte) {
	t := &tunnel{p: p, client: client, server: server}
	p.count()
	defer p.stats.Tunnels.Add(-1)
	for _, e := range []end{client, server} {
		e.SetWriteDeadline(time.Time{}) // the one of the handshake
	}
	done := make(chan struct{}, 2)
	cut := context.AfterFunc(p.closing, func() {
		t.close()
		done <- struct{}{}
	})
	go func() {
		t.copy(server, client, fromClient)
		done <- struct{}{}
	}()
	t.copy(client, server, fromServer)
	<-done
	if !cut() { // wait for the other one, too: the client's end may be gone when this returns
		<-done
	}
	t.close()
}

// count counts a tunnel, and posts a notice if there are many.
func (p *Peers) count() {
	n := p.stats.Tunnels.Add(1)
	if sessions := int64(p.opts.Sessions()); n > fewTunnels && n*20 > n+sessions {
		p.opts.Notices.Post(slog.LevelWarn, "tunnels", "parley: many WebSockets pass through this server to others, which costs both memory and CPU",
			"tunnels", n, "sessions", sessions, "hint", routeByTag)
	}
}

// tunnel is a client's WebSocket that passes through this server to its own.
type tunnel struct {
	p              *Peers
	client, server end
}

func (t *tunnel) close() {
	t.client.Close()
	t.server.Close()
}

// copy copies from one end to the other, until there is nothing more. If that is a failure, it closes
// both.
func (t *tunnel) copy(to, from end, first []byte) {
	buf := make([]byte, tunnelBuffer)
	for b := first; ; {
		if len(b) > 0 {
			t.p.limitWrite(to)
			if _, err := to.Write(b); err != nil {
				t.close()
				return
			}
		}
		from.SetReadDeadline(time.Now().Add(t.p.opts.Silence))
		n, err := from.Read(buf)
		b = buf[:n]
		if n > 0 {
			continue // an error comes again
		}
		half, ok := to.(interface{ CloseWrite() error })
		if !errors.Is(err, io.EOF) || !ok || half.CloseWrite() != nil {
			t.close()
			return
		}
		to.SetReadDeadline(time.Now().Add(halfClosed)) // the other direction reads from it
		return
	}
}

// stream is a response, and with HTTP/2 also the body of its request, as one end of a tunnel.
type stream struct {
	r       io.Reader
	w       io.Writer
	control *http.ResponseController
	flush   bool
}

func (s *stream) Read(b []byte) (int, error) { return s.r.Read(b) }

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err == nil && s.flush {
		err = s.control.Flush()
	}
	return n, err
}

func (s *stream) SetReadDeadline(t time.Time) error  { return s.control.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.control.SetWriteDeadline(t) }

// Close ends the reading. The stream ends when the handler returns. A deadline for writing would reset
// it.
func (s *stream) Close() error { return s.control.SetReadDeadline(time.Unix(1, 0)) }
