package reactor

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// watchable returns nc so that it can be watched even under crypto/tls.
func watchable(nc net.Conn) net.Conn { return &conn{Conn: nc} }

// conn is an ordinary connection until it is adopted by a loop. From then on it is
// what crypto/tls reads from and writes to: a read that would have to wait fails with
// a temporary error, after which crypto/tls goes on where it was.
type conn struct {
	net.Conn
	watched atomic.Pointer[eventConn]
}

// errNotReady is a temporary net.Error, the kind that crypto/tls does not hold against
// the connection.
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
	p.send(b) // takes all of b
	return len(b), nil
}

// SetWriteBuffer sets what the kernel may keep for the peer, as net.TCPConn's does.
func (c *conn) SetWriteBuffer(bytes int) error {
	if b, ok := c.Conn.(interface{ SetWriteBuffer(int) error }); ok {
		return b.SetWriteBuffer(bytes)
	}
	return syscall.EINVAL
}

// SyscallConn lets net/http use the same socket calls (sendfile, say) as without us.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, syscall.EINVAL
}
