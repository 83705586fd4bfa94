package reactor

import (
	"errors"
	"net"
	"sync"
)

// ErrClosed is the error that Handler.Closed gets after Conn.Close.
var ErrClosed = errors.New("reactor: connection closed")

// BufferSize is the size in bytes of a loop's read buffer and of Drain's scratch buffer. One system
// call reads at most this much.
const BufferSize = 64 << 10

// Handler owns a connection. The Reactor calls it when something happens to the connection.
//
// The Reactor calls Receive and Closed from one goroutine at a time, in order. It also calls Drain
// from one goroutine at a time, but possibly at the same time as the other two. None of them may
// block.
type Handler interface {
	// Receive gets bytes as they arrive. b is valid until Receive returns, and the handler may
	// overwrite it.
	Receive(b []byte)
	// Drain writes what is queued, with Conn.Write. The Reactor calls it after Wake. While bytes
	// that the peer has not yet accepted wait in the connection, the Reactor does not call Drain;
	// it calls it when they are gone. scratch is a buffer of BufferSize bytes to build writes in,
	// valid until Drain returns.
	Drain(scratch []byte)
	// Closed is the last call, except that a Drain may still be running. The peer has hung up, a
	// system call has failed or, if err is ErrClosed, Close was called.
	Closed(err error)
}

// Conn is a connection in a Reactor. All methods are safe for concurrent use, and none waits for the
// peer.
type Conn interface {
	// Wake makes the Reactor call Handler.Drain soon.
	Wake()
	// Write sends b. Do not change b before the next Drain. Only Drain may call Write. If Write
	// returns false, write no more. Either the connection sends the rest of b as the peer accepts
	// it, and the Reactor calls Drain when it is gone; or the connection is broken, and Closed
	// follows.
	Write(b []byte) bool
	// Pause stops reading, so that the network slows the peer down. At most one more Receive can
	// come, one that is running or about to start. If the peer resets the connection or a write
	// fails, Closed comes even while paused; what the peer sent before is then lost.
	Pause()
	// Resume starts reading again.
	Resume()
	// Recall makes the Reactor call Handler.Receive once more, with no bytes, as soon as reading is
	// not paused. It is for a handler that has not used everything it received. Only Receive may
	// call it.
	Recall()
	// Close closes the connection and drops what has not been written. Handler.Closed follows, on
	// another goroutine.
	Close()
}

// Reactor watches a set of connections. It is safe for concurrent use.
type Reactor struct {
	// SendBuffer is how many bytes the kernel may keep for a peer that does not read (SO_SNDBUF).
	// New sets it to 64 KiB. If 0, the system decides. Do not change it once the Reactor is in use.
	// On Linux, 64 KiB cost 0.27 MB per stalled connection, and the system's own choice up to
	// 3.9 MB.
	SendBuffer int

	watcher // of the platform

	mu       sync.Mutex
	blocking map[*blockingConn]struct{} // connections with their own goroutines; nil once closed
}

// New returns a Reactor that uses n loops (at least one) if the platform can watch connections. Its
// goroutines start with the first connection.
func New(n int) *Reactor {
	p := &Reactor{SendBuffer: 64 << 10, blocking: map[*blockingConn]struct{}{}}
	p.init(max(n, 1))
	return p
}

// Reservation holds the system resources for watching a connection. End it with Add or Release.
type Reservation struct {
	p       *Reactor
	nc      net.Conn
	watched adopted
}

// Reserve gets the system resources for watching nc: a file descriptor, of which there may be no more.
// Until Add, the caller still owns nc, and can tell the peer if Reserve fails.
func (p *Reactor) Reserve(nc net.Conn) (Reservation, error) {
	watched, err := p.reserve(nc)
	return Reservation{p, nc, watched}, err
}

// Add hands the connection over to the Reactor. From then on use only the Conn that attach gets. The
// Handler first receives buffered, the bytes that were read beforehand. So Receive may be called
// before Add returns, but not before attach has returned. If Add fails, it closes the connection and
// passes the reason to Handler.Closed.
func (r Reservation) Add(buffered []byte, h Handler, attach func(Conn)) {
	if !r.watched.add(r.p.SendBuffer, buffered, h, attach) {
		r.p.addBlocking(r.nc, buffered, h, attach)
	}
}

// Release gives back the resources. The caller keeps the connection.
func (r Reservation) Release() { r.watched.release() }

// Add calls Reserve and then Reservation.Add. If it fails, it closes nc and passes the reason to
// Handler.Closed.
func (p *Reactor) Add(nc net.Conn, buffered []byte, h Handler, attach func(Conn)) {
	r, err := p.Reserve(nc)
	if err != nil {
		nc.Close()
		h.Closed(err)
		return
	}
	r.Add(buffered, h, attach)
}

// Close closes every connection, which calls its Handler.Closed, and waits for the loops. Therefore
// no handler may call it.
func (p *Reactor) Close() {
	p.mu.Lock()
	rest := p.blocking
	p.blocking = nil
	p.mu.Unlock()
	for c := range rest {
		c.Close()
	}
	p.close()
}
