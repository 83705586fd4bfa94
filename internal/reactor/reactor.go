package reactor

import (
	"errors"
	"net"
	"sync"
)

// ErrClosed is what Handler.Closed is told after Conn.Close.
var ErrClosed = errors.New("reactor: connection closed")

// BufferSize is the size in bytes of the buffers that a loop reads into and that
// Drain may use: at most this much is read or written by one system call.
const BufferSize = 64 << 10

// Handler owns a connection and is told what happens to it.
//
// Receive and Closed are called by one goroutine at a time, in order; so is
// Drain, but at the same time as the other two. None of them may block.
type Handler interface {
	// Receive is given bytes as they arrive. b is valid until Receive returns, and
	// the handler may overwrite it.
	Receive(b []byte)
	// Drain writes what is queued, with Conn.Write. It is called after Wake, but not
	// while a connection that refused bytes does not take them: then, once it does.
	// scratch is a buffer of BufferSize bytes to build writes in, valid until Drain
	// returns.
	Drain(scratch []byte)
	// Closed is the last call but for a Drain that is under way: the peer hung up, a
	// system call failed, or (ErrClosed) Close was called.
	Closed(err error)
}

// Conn is a connection in a Reactor. All methods are safe for concurrent use and none
// waits for the peer.
type Conn interface {
	// Wake has Handler.Drain called soon.
	Wake()
	// Write sends b, which may not change before the next Drain. Only Drain may call it.
	// If it returns false, write no more: the rest of b is sent as the peer takes it,
	// and Drain called when it is gone; or the connection is broken, and Closed follows.
	Write(b []byte) bool
	// Pause stops reading, so that the network pushes back on the peer. At most the Receive
	// that is under way, or about to begin, still comes. Closed follows all the same if the peer resets the
	// connection or does not take what is written; what it has sent before is then lost.
	Pause()
	// Resume starts reading again.
	Resume()
	// Recall has Handler.Receive called once more, with no bytes, as soon as reading is not
	// paused. It is for a handler that has not used all that it received, and may be called
	// within Receive only.
	Recall()
	// Close closes the connection and drops what has not been written. Handler.Closed
	// follows, on another goroutine.
	Close()
}

// Reactor is a set of connections that are watched together. It is safe for
// concurrent use.
type Reactor struct {
	// SendBuffer is how many bytes the kernel is asked to keep for a peer that does not read
	// (SO_SNDBUF); New sets it to 64 KiB. With 0 the system decides. It must not change once
	// the Reactor is in use. On Linux 64 KiB cost 0.27 MB a stalled connection, the system's
	// own choice up to 3.9 MB.
	SendBuffer int

	watcher // of the platform

	mu       sync.Mutex
	blocking map[*blockingConn]struct{} // with goroutines of their own; nil once closed
}

// New returns a Reactor that uses n loops (at least one) where the platform can
// watch connections. Its goroutines start with the first connection.
func New(n int) *Reactor {
	p := &Reactor{SendBuffer: 64 << 10, blocking: map[*blockingConn]struct{}{}}
	p.init(max(n, 1))
	return p
}

// Reservation is a connection for which the Reactor has what it takes of the system to watch
// it. It ends with Add or Release.
type Reservation struct {
	p       *Reactor
	nc      net.Conn
	watched adopted
}

// Reserve gets what watching nc takes of the system: a file descriptor, which may be the one
// too many. Until Add, nc is still its owner's, who can tell the peer if Reserve fails.
func (p *Reactor) Reserve(nc net.Conn) (Reservation, error) {
	watched, err := p.reserve(nc)
	return Reservation{p, nc, watched}, err
}

// Add hands the connection over: from here on only the Conn may be used that attach is given.
// The bytes that were read beforehand come first, so Receive may be called before Add returns,
// but not before attach has returned. If the connection cannot be added, it is closed and
// Handler.Closed says why.
func (r Reservation) Add(buffered []byte, h Handler, attach func(Conn)) {
	if !r.watched.add(r.p.SendBuffer, buffered, h, attach) {
		r.p.addBlocking(r.nc, buffered, h, attach)
	}
}

// Release gives back what Reserve has got. The connection stays its owner's.
func (r Reservation) Release() { r.watched.release() }

// Add is Reserve, then Reservation.Add. If nc cannot be added, it is closed and
// Handler.Closed says why.
func (p *Reactor) Add(nc net.Conn, buffered []byte, h Handler, attach func(Conn)) {
	r, err := p.Reserve(nc)
	if err != nil {
		nc.Close()
		h.Closed(err)
		return
	}
	r.Add(buffered, h, attach)
}

// Close ends every connection, each of which gets its Handler.Closed, and waits for the
// loops, so no handler may call it.
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
