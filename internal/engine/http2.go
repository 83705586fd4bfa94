package engine

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// http2Stream is the connection of a WebSocket over HTTP/2: the body of an extended CONNECT request
// and the body of its response (RFC 8441). Only one goroutine at a time writes.
type http2Stream struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController

	mu      sync.Mutex
	changed sync.Cond
	writing bool // Write is running and can be cut off
	closed  bool
}

func newHTTP2Stream(w http.ResponseWriter, r *http.Request) *http2Stream {
	c := &http2Stream{w: w, r: r, control: http.NewResponseController(w)}
	c.changed.L = &c.mu
	return c
}

// serveHTTP2 connects t to the stream and returns when the stream is closed.
func (s *Server) serveHTTP2(w http.ResponseWriter, r *http.Request, accepted *ws.Accepted, t *websocket) {
	c := newHTTP2Stream(w, r)
	accepted.WriteHeader(w)
	c.control.Flush() // the next read or write reports an error
	t.begin()
	s.reactor.AddStream(c, t, t.attach)
	c.wait()
}

// wait returns when the stream is closed and w is no longer in use. After that nobody may use w.
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

// setWriting notes that a write begins or ends. It reports whether the stream is open.
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

// Close ends the stream. It cuts off a running write, which resets the stream.
func (c *http2Stream) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.changed.Signal()
	c.control.SetReadDeadline(past)
	if c.writing { // so ServeHTTP has not returned and w is valid
		c.control.SetWriteDeadline(past)
	}
	return nil
}
