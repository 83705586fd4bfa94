package poll

import (
	"io"
	"sync"
	"time"
)

// Stream is what a Poller needs of a connection. Its Read and Write block; Close has them
// return.
type Stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// blockingConn is a connection with a goroutine that reads and, while there is
// something to write, one that writes.
type blockingConn struct {
	nc Stream
	h  Handler
	p  *Poller

	mu       sync.Mutex
	changed  sync.Cond // paused or closed
	paused   bool
	closed   bool
	dirty    bool // Wake was called since Drain began
	draining bool

	pending []byte // what Drain has written, owned by the goroutine that drains
}

// blockingBuffer is small since every connection has one.
const blockingBuffer = 4 << 10

// scratches are for the goroutines that write.
var scratches = sync.Pool{New: func() any { return new([BufferSize]byte) }}

// AddStream is Add for what is not a connection of the system.
func (p *Poller) AddStream(s Stream, h Handler, attach func(Conn)) { p.addBlocking(s, nil, h, attach) }

func (p *Poller) addBlocking(nc Stream, buffered []byte, h Handler, attach func(Conn)) {
	c := &blockingConn{nc: nc, h: h, p: p}
	c.changed.L = &c.mu
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

func (c *blockingConn) read(buffered []byte) {
	if len(buffered) > 0 {
		c.h.Receive(buffered)
	}
	buf := make([]byte, blockingBuffer)
	var err error
	for err == nil && c.awaitResumed() {
		var n int
		if n, err = c.nc.Read(buf); n > 0 {
			c.h.Receive(buf[:n])
		}
	}
	c.mu.Lock()
	if c.closed {
		err = ErrClosed
	}
	c.mu.Unlock()
	c.Close()
	c.p.mu.Lock()
	delete(c.p.blocking, c)
	c.p.mu.Unlock()
	c.h.Closed(err)
}

func (c *blockingConn) awaitResumed() (open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.paused && !c.closed {
		c.changed.Wait()
	}
	return !c.closed
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
		if !c.dirty || c.closed {
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
			c.nc.Close() // the reading goroutine reports it
		}
		c.pending = nil
		c.Wake()
	}
}

// Write leaves b to the goroutine that drains: it may have to wait for the peer.
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

func (c *blockingConn) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.changed.Signal()
	c.nc.Close()
}
