package reactor

import (
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// watcher is the Linux part of a Reactor: a few epoll loops that share the connections.
type watcher struct {
	loops []*loop
	next  atomic.Uint32
}

func (p *watcher) init(n int) {
	for range n {
		l := &loop{}
		l.flushFn = l.flush
		p.loops = append(p.loops, l)
	}
}

// reserve duplicates the descriptor of nc, if epoll can watch it, and starts a loop for it.
func (p *watcher) reserve(nc net.Conn) (adopted, error) {
	s, err := adopt(nc)
	if err != nil || s.c == nil {
		return adopted{}, err
	}
	s.c.loop = p.loops[int(p.next.Add(1))%len(p.loops)]
	if err := s.c.loop.start(); err != nil {
		s.release()
		return adopted{}, err
	}
	return s, nil
}

// add makes the loop watch the connection. It returns false if s is empty.
func (s adopted) add(sendBuffer int, buffered []byte, h Handler, attach func(Conn)) bool {
	c := s.c
	if c == nil {
		return false
	}
	s.handOver(sendBuffer)
	c.h = h
	attach(c)
	if len(buffered) > 0 {
		h.Receive(buffered)
	}
	if c.tls != nil { // crypto/tls may hold bytes that the kernel no longer reports
		more, err := c.readTLS(make([]byte, blockingBuffer))
		if err != nil {
			c.release(err)
			return true
		}
		if more {
			c.mu.Lock()
			c.watchLocked(c.watching | wantWrite) // makes the loop look at once
			c.mu.Unlock()
		}
	}
	c.loop.add(c)
	return true
}

func (p *watcher) close() {
	for _, l := range p.loops {
		l.close()
	}
}

// loop is an epoll instance, the goroutine that waits for it, and the list of connections that want
// to write. The Go runtime's poller watches the epoll descriptor itself, so the waiting goroutine is
// parked and holds no thread.
type loop struct {
	mu      sync.Mutex
	state   loopState
	ep      *os.File
	epfd    int
	done    chan struct{} // closed when the goroutine has ended
	conns   []*eventConn  // by file descriptor
	dirty   []*eventConn  // need a Drain
	spare   []*eventConn  // the other array for dirty
	flushOn bool          // the flushing goroutine exists

	more []*eventConn // have more to read than their share of a round; owned by the loop's goroutine

	scratch []byte // owned by the flushing goroutine
	flushFn func() // the method value of flush, made once
}

type loopState uint8

const (
	loopNew loopState = iota
	loopRunning
	loopClosed
)

// add makes the loop watch c. If that fails, it closes c.
func (l *loop) add(c *eventConn) {
	l.mu.Lock()
	err := l.startLocked()
	if err == nil {
		for len(l.conns) <= c.fd {
			l.conns = append(l.conns, make([]*eventConn, max(64, c.fd+1-len(l.conns), len(l.conns)/4))...)
		}
		l.conns[c.fd] = c
		c.mu.Lock()
		c.added = true
		err = epollCtl(l.epfd, syscall.EPOLL_CTL_ADD, c.fd, c.watching)
		c.mu.Unlock()
		if err != nil {
			l.conns[c.fd] = nil
		}
	}
	l.mu.Unlock()
	if err != nil {
		c.release(err)
	}
}

// start starts the loop if it is not running.
func (l *loop) start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.startLocked()
}

func (l *loop) startLocked() error {
	switch l.state {
	case loopClosed:
		return ErrClosed
	case loopRunning:
		return nil
	}
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(epfd, true); err != nil {
		syscall.Close(epfd)
		return os.NewSyscallError("fcntl", err)
	}
	l.epfd = epfd
	l.ep = os.NewFile(uintptr(epfd), "epoll") // non-blocking, so the runtime watches it
	l.done = make(chan struct{})
	l.state = loopRunning
	go l.run()
	return nil
}

func (l *loop) close() {
	l.mu.Lock()
	started := l.state == loopRunning
	l.state = loopClosed
	l.mu.Unlock()
	if started {
		l.ep.Close()
		<-l.done
	}
}

// run waits and reads until the epoll descriptor is closed.
func (l *loop) run() {
	defer close(l.done)
	raw, err := l.ep.SyscallConn()
	if err != nil {
		return // closed already
	}
	var (
		buf    = make([]byte, BufferSize)
		events = make([]syscall.EpollEvent, 256)
		ready  = make([]*eventConn, len(events))
		n      int
	)
	pace := pacing{round: 1} // new connections have round 0
	wait := func(fd uintptr) bool {
		if pace.due() {
			pacingPause()
		}
		n = epollNow(int(fd), events)
		pace.found(n)
		return n != 0 || len(l.more) > 0
	}
	for raw.Read(wait) == nil {
		more := l.more
		l.more = nil
		for _, c := range more {
			c.due = true
		}
		l.mu.Lock()
		for i, e := range events[:n] {
			ready[i] = l.conns[e.Fd]
		}
		l.mu.Unlock()
		for i, c := range ready[:n] {
			if c != nil {
				pace.serve(c)
				c.due = false
				c.serve(events[i].Events, buf, pace.waited)
			}
		}
		for _, c := range more { // at the end of the queue
			if c.due && c.fd >= 0 {
				c.due = false
				c.serve(wantRead, buf, false)
			}
		}
		runtime.Gosched() // let handlers run before reading more
		if pace.waited {
			runtime.Gosched() // and let the flusher write their replies; it yields first, too
		}
		for i, c := range ready[:n] {
			if c != nil {
				c.consume(buf)
			}
			ready[i] = nil
		}
	}
	l.mu.Lock()
	rest := l.conns
	l.conns = nil
	l.mu.Unlock()
	for _, c := range rest {
		if c != nil {
			c.release(ErrClosed)
		}
	}
}

// forget removes c from the loop, on the loop's goroutine.
func (l *loop) forget(c *eventConn) {
	l.mu.Lock()
	if c.fd < len(l.conns) {
		l.conns[c.fd] = nil
	}
	l.mu.Unlock()
}

// wake puts c on the list of connections that want to write.
func (l *loop) wake(c *eventConn) {
	l.mu.Lock()
	l.dirty = append(l.dirty, c)
	start := !l.flushOn
	l.flushOn = true
	l.mu.Unlock()
	if start {
		go l.flushFn()
	}
}

// flush drains the connections on the list until it is empty.
func (l *loop) flush() {
	runtime.Gosched() // other goroutines may be about to send: put all of it into one write
	if l.scratch == nil {
		l.scratch = make([]byte, BufferSize)
	}
	for {
		l.mu.Lock()
		batch := l.dirty
		if len(batch) == 0 {
			l.flushOn = false
			l.mu.Unlock()
			return
		}
		l.dirty = l.spare[:0]
		l.mu.Unlock()
		for i, c := range batch {
			c.woken.Store(false)
			if !c.held.Load() {
				c.h.Drain(l.scratch)
			}
			batch[i] = nil
		}
		l.mu.Lock()
		l.spare = batch
		l.mu.Unlock()
	}
}
