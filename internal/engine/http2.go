package engine

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// http2Stream is the connection of a WebSocket over HTTP/2: the body of an extended CONNECT,
// and that of its response (RFC 8441).
type http2Stream struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController

	writing sync.Mutex // held during a write
	closing sync.Once
	closed  chan struct{}
}

// serveHTTP2 has t communicate over the stream, until that is closed.
func (s *Server) serveHTTP2(w http.ResponseWriter, r *http.Request, accepted *ws.Accepted, t *websocket) {
	c := &http2Stream{w: w, r: r, control: http.NewResponseController(w), closed: make(chan struct{})}
	accepted.WriteHeader(w)
	c.control.Flush() // a fault shows when it is read or written
	t.begin()
	s.poller.AddStream(c, t, t.attach)
	<-c.closed
	c.writing.Lock() // w must not be used any more
	defer c.writing.Unlock()
}

func (c *http2Stream) Read(b []byte) (int, error) { return c.r.Body.Read(b) }

func (c *http2Stream) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	n, err := c.w.Write(b)
	if err == nil {
		err = c.control.Flush()
	}
	return n, err
}

func (c *http2Stream) SetDeadline(t time.Time) error {
	if err := c.control.SetReadDeadline(t); err != nil {
		return err
	}
	return c.control.SetWriteDeadline(t)
}

// Close ends the stream. A write that is under way is cut off, and with it the stream reset.
func (c *http2Stream) Close() error {
	c.closing.Do(func() {
		past := time.Unix(1, 0)
		c.control.SetReadDeadline(past)
		if c.writing.TryLock() {
			c.writing.Unlock()
		} else {
			c.control.SetWriteDeadline(past)
		}
		close(c.closed)
	})
	return nil
}
