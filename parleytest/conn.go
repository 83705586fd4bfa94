package parleytest

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// listener is a net.Listener without a network.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func listen() *listener {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.close()
	return nil
}

var serverAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}

func (l *listener) Addr() net.Addr { return serverAddr }

// dial connects from an address. It returns both ends.
func (l *listener) dial(ctx context.Context, from net.Addr) (client, server *conn, err error) {
	client, server = pipe(from)
	select {
	case l.conns <- server:
		return client, server, nil
	case <-l.closed:
		return nil, nil, net.ErrClosed
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// conn is one end of a connection in memory. Unlike net.Pipe, it keeps what was written until the other end
// reads it, up to a limit, as a network does.
type conn struct {
	in, out       *stream
	local, remote net.Addr
	closed        chan struct{} // by Close
	close         func()
}

func pipe(from net.Addr) (client, server *conn) {
	up, down := newStream(), newStream()
	return newConn(down, up, from, serverAddr), newConn(up, down, serverAddr, from)
}

func newConn(in, out *stream, local, remote net.Addr) *conn {
	c := &conn{in: in, out: out, local: local, remote: remote, closed: make(chan struct{})}
	c.close = sync.OnceFunc(func() {
		in.end(true)
		out.end(false)
		close(c.closed)
	})
	return c
}

// cut ends the connection for both sides. What is under way is lost.
func (c *conn) cut() {
	for _, s := range []*stream{c.in, c.out} {
		s.set(func() { s.cut, s.frozen = true, false })
	}
}

// freeze stops what is under way, in both directions, or lets it go on.
func (c *conn) freeze(frozen bool) {
	for _, s := range []*stream{c.in, c.out} {
		s.set(func() { s.frozen = frozen })
	}
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	c.close()
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.set(func() { c.in.reading.set(c.in, t) })
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.set(func() { c.out.writing.set(c.out, t) })
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// capacity is how many bytes a stream keeps: about what the buffers of the kernel hold.
const capacity = 256 << 10

// stream is one direction of a connection.
type stream struct {
	mu               sync.Mutex
	changed          sync.Cond
	data             []byte
	noReader         bool
	noWriter         bool
	cut, frozen      bool
	reading, writing deadline
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

// set changes the stream, and wakes those that wait.
func (s *stream) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.changed.Broadcast()
}

// end notes that the reader, or the writer, has closed its end.
func (s *stream) end(reader bool) {
	s.set(func() {
		if reader {
			s.noReader, s.data = true, nil
			s.reading.stop()
		} else {
			s.noWriter = true
			s.writing.stop()
		}
	})
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.noReader:
			return 0, net.ErrClosed
		case s.reading.passed():
			return 0, os.ErrDeadlineExceeded
		case s.cut:
			return 0, io.EOF
		case s.frozen:
		case len(s.data) > 0:
			n := copy(b, s.data)
			if s.data = s.data[n:]; len(s.data) == 0 {
				s.data = nil
			}
			s.changed.Broadcast()
			return n, nil
		case s.noWriter:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.noWriter:
			return n, net.ErrClosed
		case s.writing.passed():
			return n, os.ErrDeadlineExceeded
		case s.cut || s.noReader:
			return n, io.ErrClosedPipe
		}
		rest := len(b) - n
		if room := capacity - len(s.data); rest > 0 && (room >= rest || room >= capacity/2) { // few copies
			rest = min(rest, room)
			s.data = append(s.data, b[n:n+rest]...)
			n += rest
			s.changed.Broadcast()
		}
		if n == len(b) {
			return n, nil
		}
		s.changed.Wait()
	}
}

// deadline is when a stream's Read or Write ends. The stream's lock guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(s *stream, at time.Time) {
	d.stop()
	if d.at = at; !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() { s.set(func() {}) })
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
