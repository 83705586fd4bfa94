package engine

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// http2Stream is the connection of a WebSocket over HTTP/2: the body of an extended CONNECT,
// and that of its response (RFC 8441). One goroutine at a time writes.
type http2Stream struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController

	mu      sync.Mutex
	changed sync.Cond
	writing bool // Write is under way: it can be cut off
	closed  bool
}

func newHTTP2Stream(w http.ResponseWriter, r *http.Request) *http2Stream {
	c := &http2Stream{w: w, r: r, control: http.NewResponseController(w)}
	c.changed.L = &c.mu
	return c
}

// serveHTTP2 has t communicate over the stream, until that is closed.
func (s *Server) serveHTTP2(w http.ResponseWriter, r *http.Request, accepted *ws.Accepted, t *websocket) {
	c := newHTTP2Stream(w, r)
	accepted.WriteHeader(w)
	c.control.Flush() // a fault shows when it is read or written
	t.begin()
	s.reactor.AddStream(c, t, t.attach)
	c.wait()
}

// wait returns when the stream is closed and w is not in use any more, which it must not be
// from then on.
func (c *http2Stream) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed || c.writing {
		c.changed.Wait()
	}
}

func (c *http2Stream) Read(b []byte) (int, error) { return c.r.Body.Read(b) }

func (c *http2Stream) Write(b []byte) (int, error) {
	if !c.setWriting(true) {
		return 0, net.ErrClosed
	}
	defer c.setWriting(false)
	n, err := c.w.Write(b)
	if err == nil {
		err = c.control.Flush()
	}
	return n, err
}

// setWriting notes that a write begins or ends, and reports whether the stream is open.
func (c *http2Stream) setWriting(writing bool) (open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = writing && !c.closed
	c.changed.Signal()
	return !c.closed
}

func (c *http2Stream) SetDeadline(t time.Time) error {
	if err := c.control.SetReadDeadline(t); err != nil {
		return err
	}
	return c.control.SetWriteDeadline(t)
}

// Close ends the stream. A write that is under way is cut off, and with it the stream reset.
func (c *http2Stream) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.changed.Signal()
	c.control.SetReadDeadline(past)
	if c.writing { // so w is still there
		c.control.SetWriteDeadline(past)
	}
	return nil
}
