package reactor

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// watchable wraps nc so that a loop can watch it even under crypto/tls.
func watchable(nc net.Conn) net.Conn { return &conn{Conn: nc} }

// conn is an ordinary connection until a loop adopts it. From then on, crypto/tls uses it to read and
// write without blocking: a read that would have to wait fails with a temporary error, and crypto/tls
// continues where it was at the next read.
type conn struct {
	net.Conn
	watched atomic.Pointer[eventConn]
}

// errNotReady is a temporary net.Error. After such an error, crypto/tls can continue with the
// connection.
var errNotReady net.Error = notReady{}

type notReady struct{}

func (notReady) Error() string   { return "reactor: not ready" }
func (notReady) Timeout() bool   { return true }
func (notReady) Temporary() bool { return true }

func (c *conn) Read(b []byte) (int, error) {
	p := c.watched.Load()
	if p == nil {
		return c.Conn.Read(b)
	}
	n, errno := recv(p.fd, b, 0)
	switch {
	case n > 0 || len(b) == 0:
		return n, nil
	case errno == 0:
		return 0, io.EOF
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return 0, errNotReady
	}
	return 0, errno
}

func (c *conn) Write(b []byte) (int, error) {
	p := c.watched.Load()
	if p == nil {
		return c.Conn.Write(b)
	}
	p.send(b) // keeps what the socket does not accept
	return len(b), nil
}

// CloseWrite ends the outgoing direction of a connection that no loop has adopted, like the method of
// net.TCPConn.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return syscall.EINVAL
}

// SetWriteBuffer sets the size of the kernel's send buffer, like the method of net.TCPConn.
func (c *conn) SetWriteBuffer(bytes int) error {
	if b, ok := c.Conn.(interface{ SetWriteBuffer(int) error }); ok {
		return b.SetWriteBuffer(bytes)
	}
	return syscall.EINVAL
}

// SyscallConn lets net/http use system calls such as sendfile, as on the connection itself.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, syscall.EINVAL
}
