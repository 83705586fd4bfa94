package reactor

import (
	"crypto/tls"
	"io"
	"sync"
	"time"
)

// Stream is the part of a connection that a Reactor needs. Read and Write block. Close makes them
// return.
type Stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// blockingConn is a connection with a goroutine that reads and, while there is something to write, a
// second one that writes.
type blockingConn struct {
	nc Stream
	h  Handler
	p  *Reactor

	mu       sync.Mutex
	changed  sync.Cond // paused or ended
	paused   bool
	recall   bool  // see Recall
	ended    error // why the connection was closed
	dirty    bool  // Wake was called since Drain began
	draining bool

	pending []byte // what Drain has written; owned by the draining goroutine
}

// blockingBuffer is small because every connection has a buffer of this size.
const blockingBuffer = 4 << 10

// scratches holds scratch buffers for the writing goroutines.
var scratches = sync.Pool{New: func() any { return new([BufferSize]byte) }}

// AddStream is Add for a stream that is not an operating-system connection.
func (p *Reactor) AddStream(s Stream, h Handler, attach func(Conn)) { p.addBlocking(s, nil, h, attach) }

func (p *Reactor) addBlocking(nc Stream, buffered []byte, h Handler, attach func(Conn)) {
	c := &blockingConn{nc: nc, h: h, p: p}
	c.changed.L = &c.mu
	if b, ok := transportOf(nc).(interface{ SetWriteBuffer(int) error }); ok && p.SendBuffer > 0 {
		b.SetWriteBuffer(p.SendBuffer) // if it fails, the connection works all the same
	}
	p.mu.Lock()
	if p.blocking == nil {
		p.mu.Unlock()
		nc.Close()
		h.Closed(ErrClosed)
		return
	}
	p.blocking[c] = struct{}{}
	p.mu.Unlock()
	nc.SetDeadline(time.Time{}) // net/http may have left one
	attach(c)
	go c.read(buffered)
}

// transportOf returns the connection below TLS, or s itself without TLS.
func transportOf(s Stream) any {
	if t, ok := s.(*tls.Conn); ok {
		return t.NetConn()
	}
	return s
}

// read starts one more read while the connection is paused; otherwise it would not notice that the
// peer is gone. It holds back what this read returns, and reads no more until Resume.
func (c *blockingConn) read(buffered []byte) {
	var err error
	if len(buffered) > 0 {
		err = c.receive(buffered)
	}
	buf := make([]byte, blockingBuffer)
	for err == nil {
		var n int
		if n, err = c.nc.Read(buf); n > 0 {
			if ended := c.receive(buf[:n]); ended != nil {
				err = ended
			}
		}
	}
	err = c.end(err)
	c.p.mu.Lock()
	delete(c.p.blocking, c)
	c.p.mu.Unlock()
	c.h.Closed(err)
}

// receive passes b to the handler as soon as the connection is not paused. If the connection is
// closed, it returns the reason instead.
func (c *blockingConn) receive(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for c.paused && c.ended == nil {
			c.changed.Wait()
		}
		if c.ended != nil {
			return c.ended
		}
		c.recall = false
		c.mu.Unlock()
		c.h.Receive(b)
		c.mu.Lock()
		if !c.recall {
			return nil
		}
		b = nil
	}
}

func (c *blockingConn) Recall() {
	c.mu.Lock()
	c.recall = true
	c.mu.Unlock()
}

func (c *blockingConn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
	if !c.draining {
		c.draining = true
		go c.drain()
	}
}

func (c *blockingConn) drain() {
	scratch := scratches.Get().(*[BufferSize]byte)
	defer scratches.Put(scratch)
	for {
		c.mu.Lock()
		if !c.dirty || c.ended != nil {
			c.draining = false
			c.mu.Unlock()
			return
		}
		c.dirty = false
		c.mu.Unlock()
		c.h.Drain(scratch[:])
		if c.pending == nil {
			continue
		}
		if _, err := c.nc.Write(c.pending); err != nil {
			c.end(err) // the reading goroutine reports it
		}
		c.pending = nil
		c.Wake()
	}
}

// Write leaves b to the draining goroutine, which may have to wait for the peer.
func (c *blockingConn) Write(b []byte) bool {
	c.pending = b
	return false
}

func (c *blockingConn) Pause() {
	c.mu.Lock()
	c.paused = true
	c.mu.Unlock()
}

func (c *blockingConn) Resume() {
	c.mu.Lock()
	c.paused = false
	c.mu.Unlock()
	c.changed.Signal()
}

func (c *blockingConn) Close() { c.end(ErrClosed) }

// end closes the connection. It returns the error of the first call.
func (c *blockingConn) end(err error) error {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = err
	}
	err = c.ended
	c.mu.Unlock()
	c.changed.Signal()
	c.nc.Close()
	return err
}
