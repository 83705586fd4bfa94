package reactor

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	wantRead  = syscall.EPOLLIN | syscall.EPOLLRDHUP
	wantWrite = syscall.EPOLLOUT
	gone      = syscall.EPOLLHUP | syscall.EPOLLERR
)

// eventConn is a connection that a loop watches. Only the loop's goroutine reads from the descriptor
// and closes it, so nobody can mistake it for a later connection with the same number.
type eventConn struct {
	h     Handler
	loop  *loop
	tls   *tls.Conn   // nil: plain TCP
	woken atomic.Bool // a Drain is due
	held  atomic.Bool // do not call Drain: pending is not empty, or the connection is closed

	// Owned by the loop's goroutine.
	round  uint32 // the last round in which there was something to read
	peeked int32  // bytes that the handler has received, but that are still in the kernel
	due    bool   // on loop.more, and not served in this round

	mu       sync.Mutex // guards the fields below
	watching uint32     // the events that epoll watches, or will watch once the connection is added
	added    bool       // to the loop
	paused   bool
	recall   bool   // see Recall
	closing  bool   // Close was called
	fd       int    // -1 once closed
	pending  []byte // written by Drain, but not yet accepted by the kernel
}

// adopted is a connection that a loop can watch, while its owner still uses the original.
type adopted struct {
	c        *eventConn // has a duplicate of the descriptor; nil if epoll cannot watch the connection
	inner    net.Conn   // the original
	handover *conn      // nil if the original did not come from Listen
}

// adopt duplicates the descriptor of nc. If nc has no descriptor that epoll can watch, the result is
// empty.
func adopt(nc net.Conn) (adopted, error) {
	s := adopted{inner: nc}
	c := &eventConn{watching: wantRead}
	if t, ok := nc.(*tls.Conn); ok {
		c.tls, s.inner = t, t.NetConn()
	}
	var ok bool
	if s.handover, ok = s.inner.(*conn); ok {
		s.inner = s.handover.Conn
	} else if c.tls != nil {
		return adopted{}, nil // on a foreign connection, crypto/tls would block
	}
	sc, ok := s.inner.(syscall.Conn)
	if !ok {
		return adopted{}, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return adopted{}, err
	}
	c.fd = -1
	if cerr := raw.Control(func(fd uintptr) {
		c.fd, err = dup(int(fd))
	}); cerr != nil {
		return adopted{}, cerr
	}
	if err != nil {
		return adopted{}, os.NewSyscallError("fcntl", err)
	}
	s.c = c
	return s, nil
}

// handOver closes the original. The Go runtime watches it, and every arrival would also wake the
// runtime. handOver sets SO_SNDBUF if sendBuffer is positive.
func (s adopted) handOver(sendBuffer int) {
	s.inner.Close()
	if sendBuffer > 0 {
		syscall.SetsockoptInt(s.c.fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer)
	}
	if s.handover != nil {
		s.handover.watched.Store(s.c)
	}
}

// release closes the duplicate.
func (s adopted) release() {
	if s.c != nil {
		syscall.Close(s.c.fd)
	}
}

// serve handles the events of epoll, on the loop's goroutine. With peek, the received bytes stay in
// the kernel until consume.
func (c *eventConn) serve(events uint32, buf []byte, peek bool) {
	if events&wantWrite != 0 {
		c.flushPending()
	}
	c.mu.Lock()
	paused := c.paused
	recall := c.recall && !paused
	if recall {
		c.recall = false
	}
	c.mu.Unlock()
	if recall {
		c.h.Receive(nil)
		c.mu.Lock()
		paused = c.paused
		c.mu.Unlock()
	}
	switch {
	case paused && events&gone != 0: // otherwise epoll would report it again and again
		c.finish(c.fault())
	case paused:
	case c.tls != nil:
		switch more, err := c.readTLS(buf); {
		case err != nil:
			c.finish(err)
		case more:
			c.loop.more = append(c.loop.more, c)
		}
	case events&^wantWrite != 0:
		flags := 0
		if peek {
			flags = syscall.MSG_PEEK
		}
		switch n, errno := recv(c.fd, buf, flags); {
		case n > 0:
			if peek {
				c.peeked = int32(n)
			}
			c.h.Receive(buf[:n])
		case errno == 0:
			c.finish(io.EOF)
		case errno != syscall.EAGAIN && errno != syscall.EINTR:
			c.finish(os.NewSyscallError("read", errno))
		}
	}
}

// fault returns the error that ended the connection, or io.EOF.
func (c *eventConn) fault() error {
	if errno, _ := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); errno != 0 {
		return os.NewSyscallError("read", syscall.Errno(errno))
	}
	return io.EOF
}

// consume removes the peeked bytes from the kernel. When small segments are read from a burst, the
// kernel acknowledges them at once, with a packet that costs as much as a message. By now the
// replies have gone out and have carried the acknowledgement.
func (c *eventConn) consume(buf []byte) {
	for c.peeked > 0 && c.fd >= 0 {
		n, errno := recv(c.fd, buf[:c.peeked], 0)
		if errno != 0 || n == 0 {
			break // the connection was reset; epoll will report it
		}
		c.peeked -= int32(n)
	}
	c.peeked = 0
}

// readTLS reads records until the kernel has no more, reading is paused, or this connection has had
// its share of the round: BufferSize bytes, the same as without TLS. more reports the last. Neither
// epoll nor a later round's events tell of records that crypto/tls holds already.
func (c *eventConn) readTLS(buf []byte) (more bool, err error) {
	for share := BufferSize; share > 0; {
		c.mu.Lock()
		paused := c.paused
		c.mu.Unlock()
		if paused {
			return false, nil
		}
		n, err := c.tls.Read(buf[:min(len(buf), share)])
		if n > 0 {
			c.h.Receive(buf[:n])
		}
		if errors.Is(err, errNotReady) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		share -= n
	}
	return true, nil
}

// finish ends the connection, on the loop's goroutine.
func (c *eventConn) finish(err error) {
	c.loop.forget(c)
	c.release(err)
}

// release closes the descriptor, which also removes it from epoll, and calls the handler's Closed.
func (c *eventConn) release(err error) {
	c.mu.Lock()
	if c.closing {
		err = ErrClosed
	}
	syscall.Close(c.fd)
	c.fd = -1
	c.pending = nil
	c.held.Store(true)
	c.mu.Unlock()
	c.h.Closed(err)
}

func (c *eventConn) Wake() {
	if !c.woken.Load() && !c.woken.Swap(true) {
		c.loop.wake(c)
	}
}

func (c *eventConn) Write(b []byte) bool {
	if c.tls == nil {
		return c.send(b)
	}
	if _, err := c.tls.Write(b); err != nil {
		c.Close()
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) == 0 && c.fd >= 0
}

// send writes b to the socket and keeps what the socket does not accept.
func (c *eventConn) send(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return false
	}
	if len(c.pending) == 0 {
		n, errno := writeAll(c.fd, b)
		if b = b[n:]; len(b) == 0 {
			return true
		}
		if errno != syscall.EAGAIN {
			syscall.Shutdown(c.fd, syscall.SHUT_RDWR) // makes the loop notice and report the end
			return false
		}
		c.watchLocked(c.watching | wantWrite)
	}
	c.pending = append(c.pending, b...)
	c.held.Store(true)
	return false
}

// flushPending writes the kept bytes. When all are written, it asks the handler for more.
func (c *eventConn) flushPending() {
	c.mu.Lock()
	n, errno := writeAll(c.fd, c.pending)
	c.pending = c.pending[n:]
	if len(c.pending) > 0 && errno == syscall.EAGAIN {
		c.mu.Unlock()
		return
	}
	c.pending = nil
	c.held.Store(false)
	c.watchLocked(c.watching &^ wantWrite)
	c.mu.Unlock()
	c.Wake()
}

// writeAll writes until all of b is written or the kernel refuses.
func writeAll(fd int, b []byte) (n int, errno syscall.Errno) {
	for n < len(b) {
		k, errno := send(fd, b[n:])
		switch errno {
		case 0:
			n += k
		case syscall.EINTR:
		default:
			return n, errno
		}
	}
	return n, 0
}

func (c *eventConn) watchLocked(events uint32) {
	if events == c.watching {
		return
	}
	c.watching = events
	if c.added && c.fd >= 0 {
		// This cannot fail: the descriptor is ours, open and registered.
		epollCtl(c.loop.epfd, syscall.EPOLL_CTL_MOD, c.fd, events)
	}
}

func (c *eventConn) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = true
	c.watchLocked(c.watching &^ wantRead)
}

func (c *eventConn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.paused {
		return
	}
	c.paused = false
	events := c.watching | wantRead
	if c.tls != nil || c.recall {
		events |= wantWrite // make the loop look at once: crypto/tls may hold records
	}
	c.watchLocked(events)
}

func (c *eventConn) Recall() {
	c.mu.Lock()
	c.recall = true
	if !c.paused { // Resume came first
		c.watchLocked(c.watching | wantWrite)
	}
	c.mu.Unlock()
}

func (c *eventConn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 && !c.closing {
		c.closing = true
		syscall.Shutdown(c.fd, syscall.SHUT_RDWR) // epoll reports it, and the loop closes the descriptor
	}
}
